//! The table of the server's commands, for permissions and for undoing: read from `COMMAND` when
//! the module starts, when another module comes or goes, and again for a name that is not in it.

use std::collections::HashMap;
use std::sync::LazyLock;

use ferrite_protocol::keyspace::{CommandAccess, DescribeError, KeyAccess};
use foldhash::fast::RandomState;
use parking_lot::RwLock;
use smallvec::SmallVec;

use crate::api::command_call::Format;
use crate::api::context::Context;
use crate::api::string::Owned;
use crate::transaction::cost::shape::Shape;
use crate::transaction::server_reads;
use ferrite_protocol::resp::tree::Tree;

/// Positions of arguments.
type Positions = SmallVec<[usize; 4]>;

/// The commands, by their names in lower case and in upper case.
type Table = HashMap<Box<[u8]>, CommandInfo, RandomState>;

static TABLE: LazyLock<RwLock<Table>> = LazyLock::new(RwLock::default);

/// Commands that change more than the keys they name, so that they could not be undone.
const NOT_UNDOABLE: &[&str] = &[
    "flushall",
    "flushdb",
    "swapdb",
    "move",
    "migrate",
    "restore-asking",
    "pfdebug",
    "pfselftest",
];

/// Commands of the server that name no keys and concern all of them. Another command without keys, such
/// as one of a module, may touch any key.
const CONCERN_ALL_KEYS: &[&str] = &["dbsize", "flushall", "flushdb", "randomkey"];

/// Commands of the server that list names of keys, and show only those that the function may access.
const LIST_KEYS: &[&str] = &["keys", "scan"];

/// Commands that hand their arguments to a parser of the server's that trusts them more than others
/// do: it has had holes that a forged payload reached.
const NAMED_ONLY: &[&str] = &["restore"];

/// Arity of commands with subcommands: what they do depends on their second argument.
const CONTAINER: i64 = -2;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct CommandInfo {
    arity: i64,
    write: bool,
    /// True if it reads or writes data and scripts may use it.
    data: bool,
    /// True if the positions of its keys depend on its arguments.
    movable: bool,
    /// Position of the first key; 0 if it has none.
    first: i64,
    /// Position of the last key; negative to count from the end.
    last: i64,
    step: i64,
    shape: Shape,
}

/// A command that a function may run, as far as the table and its arguments tell.
pub(crate) struct DataCommand {
    /// True if it can write.
    pub(crate) write: bool,
    /// Positions of the keys that it names; `None` if the server does not tell.
    pub(crate) keys: Option<Positions>,
    /// The way in which its cost is foreseen.
    pub(crate) shape: Shape,
    /// True if commands of its name may name keys.
    takes_keys: bool,
}

/// Reads the table of the server's commands. Returns false if the server does not return it.
pub(crate) fn load(context: Context<'_>) -> bool {
    let mut all = Table::default();
    fill(context, &[b"COMMAND"], &mut all);
    let is_told = !all.is_empty();
    if is_told {
        *TABLE.write() = all;
    }
    is_told
}

fn fill(context: Context<'_>, argv: &[&[u8]], table: &mut Table) {
    server_reads::command(context, argv, Format::Own, |reply| {
        if let Some(tree) = Tree::read(reply) {
            tree.list().iter().for_each(|command| add(command, table));
        }
    });
}

fn add(command: &Tree<'_>, table: &mut Table) {
    let parts = command.list();
    let [name, arity, flags, first, last, step, ..] = parts else {
        return;
    };
    let Some(name) = name.text() else { return };
    let has = |flag: &str| {
        let mut flags = flags.list().iter();
        flags.any(|one| one.text() == Some(flag.as_bytes()))
    };
    let int = |tree: &Tree<'_>| tree.int().unwrap_or(0);
    let name = name.to_ascii_lowercase();
    let write = has("write");
    let info = CommandInfo {
        arity: int(arity),
        write,
        data: (write || has("readonly")) && !has("noscript") && !name.starts_with(b"wasm."),
        movable: has("movablekeys"),
        first: int(first),
        last: int(last),
        step: int(step),
        shape: Shape::of(&name),
    };
    // As functions mostly write it, so that it is found as it is.
    table.insert(name.to_ascii_uppercase().into(), info);
    table.insert(name.into(), info);
    for subcommand in parts.get(9).map_or(&[][..], Tree::list) {
        add(subcommand, table);
    }
}

/// Returns true if the server has a command of this name.
pub(crate) fn is_command(name: &[u8]) -> bool {
    TABLE.read().contains_key(&*name.to_ascii_lowercase())
}

/// Returns how many words follow the key in the shortest request of a command whose first argument is
/// its key; `None` if the server has no such command.
pub(crate) fn words_after_key(name: &str) -> Option<usize> {
    let table = TABLE.read();
    let info = table.get(&*lower(name.as_bytes()))?;
    usize::try_from(info.arity.abs() - 2).ok()
}

fn find(argv: &[&[u8]]) -> Option<CommandInfo> {
    let name = argv.first()?;
    let table = TABLE.read();
    let info = table
        .get(*name)
        .or_else(|| table.get(&*lower(name)))
        .copied()?;
    if info.arity == CONTAINER
        && !info.data
        && let Some(second) = argv.get(1)
    {
        let whole = [&*lower(name), b"|", &lower(second)].concat();
        if let Some(inner) = table.get(&*whole) {
            return Some(*inner);
        }
    }
    Some(info)
}

/// Returns a name in lower case, as in the table.
fn lower(name: &[u8]) -> SmallVec<[u8; 32]> {
    let mut name = SmallVec::from_slice(name);
    name.make_ascii_lowercase();
    name
}

/// Looks a command up.
///
/// # Errors
///
/// If the server has no such command for functions, or it takes another number of arguments.
pub(crate) fn look_up(
    context: Option<Context<'_>>,
    argv: &[&[u8]],
) -> Result<DataCommand, DescribeError> {
    let info = find(argv).or_else(|| {
        // It may belong to a module that was loaded later.
        let name = argv.first()?;
        let mut found = Table::default();
        fill(context?, &[b"COMMAND", b"INFO", name], &mut found);
        TABLE.write().extend(found);
        find(argv)
    });
    let info = info
        .filter(|info| info.data)
        .ok_or(DescribeError::UnknownCommand)?;
    let words = i64::try_from(argv.len()).unwrap_or(i64::MAX);
    if (info.arity >= 0 && words != info.arity) || words < info.arity.abs() {
        return Err(DescribeError::WrongArity);
    }
    let keys = if info.movable {
        context.and_then(|context| keys_from_server(context, argv))
    } else {
        Some(positions(&info, argv.len()))
    };
    Ok(DataCommand {
        write: info.write,
        keys,
        shape: info.shape,
        takes_keys: info.movable || info.first > 0,
    })
}

/// Returns true if only the server itself can tell what a command would do: it may belong to a module that was
/// loaded later, or its keys depend on its arguments.
pub(crate) fn needs_server(argv: &[&[u8]]) -> bool {
    find(argv).is_none_or(|info| info.movable)
}

/// Describes what a command would do.
///
/// # Errors
///
/// As for [`look_up`].
pub(crate) fn describe(
    context: Option<Context<'_>>,
    argv: &[&[u8]],
) -> Result<CommandAccess, DescribeError> {
    let command = look_up(context, argv)?;
    let keys = match command.keys {
        _ if reads_by_pattern(argv) => KeyAccess::Unknown,
        _ if !command.takes_keys => without_keys(argv[0]),
        Some(keys) => KeyAccess::At(keys),
        None => KeyAccess::Unknown,
    };
    Ok(CommandAccess {
        write: command.write,
        keys,
        other_database: reaches_other_database(argv),
        named_only: is_among(NAMED_ONLY, argv[0]),
    })
}

/// Returns true if the name is in the list, in any case.
fn is_among(names: &[&str], name: &[u8]) -> bool {
    names
        .iter()
        .any(|known| name.eq_ignore_ascii_case(known.as_bytes()))
}

/// Returns true if a command reaches keys of another database.
fn reaches_other_database(argv: &[&[u8]]) -> bool {
    let copies = argv[0].eq_ignore_ascii_case(b"COPY");
    is_among(&["move", "swapdb"], argv[0])
        || (copies
            && argv
                .iter()
                .skip(3)
                .any(|word| word.eq_ignore_ascii_case(b"DB")))
}

/// Returns the keys that a command may touch whose arguments name none.
fn without_keys(name: &[u8]) -> KeyAccess {
    if is_among(CONCERN_ALL_KEYS, name) {
        KeyAccess::All
    } else if is_among(LIST_KEYS, name) {
        KeyAccess::Listed
    } else {
        KeyAccess::Unknown
    }
}

/// Returns the positions of a command's keys; `None` if they are not known.
pub(crate) fn keys_of(context: Context<'_>, argv: &[&[u8]]) -> Option<Positions> {
    let info = find(argv)?;
    if info.movable {
        return keys_from_server(context, argv);
    }
    Some(positions(&info, argv.len()))
}

/// Returns the reason why a command that writes cannot be part of a call; `None` if it can.
pub(crate) fn why_not_undoable(argv: &[&[u8]]) -> Option<&'static str> {
    (reaches_other_database(argv) || is_among(NOT_UNDOABLE, argv[0])).then_some(
        "reaches further than the keys it names, and could not be undone if the function failed; send it as a command of its own",
    )
}

/// Returns true if the command also reads keys whose names a pattern makes from the values it
/// reads.
fn reads_by_pattern(argv: &[&[u8]]) -> bool {
    let name = argv[0];
    (name.eq_ignore_ascii_case(b"SORT") || name.eq_ignore_ascii_case(b"SORT_RO"))
        && argv
            .iter()
            .skip(2)
            .any(|word| word.eq_ignore_ascii_case(b"BY") || word.eq_ignore_ascii_case(b"GET"))
}

fn positions(info: &CommandInfo, words: usize) -> Positions {
    let words = i64::try_from(words).unwrap_or(i64::MAX);
    if info.first <= 0 {
        return Positions::new();
    }
    let last = match info.last {
        last if last < 0 => words + last,
        last => last.min(words - 1),
    };
    if info.first == last {
        // The most frequent case.
        return usize::try_from(last).into_iter().collect();
    }
    let step = usize::try_from(info.step.max(1)).unwrap_or(1);
    (info.first..=last)
        .step_by(step)
        .filter_map(|at| usize::try_from(at).ok())
        .collect()
}

/// Asks the server for the keys of a command whose keys depend on its arguments.
fn keys_from_server(context: Context<'_>, argv: &[&[u8]]) -> Option<Positions> {
    let words: Vec<Owned<'_>> = argv.iter().map(|word| context.string(word)).collect();
    context.key_positions(&words).map(Positions::from_vec)
}

#[cfg(test)]
mod tests {
    use ferrite_protocol::keyspace::KeyAccess;

    use super::{CommandInfo, Shape, positions, reads_by_pattern, without_keys};

    #[test]
    fn only_the_servers_own_commands_without_keys_are_known() {
        for name in ["RandomKey", "DBSIZE", "FLUSHDB"] {
            assert_eq!(without_keys(name.as_bytes()), KeyAccess::All, "{name}");
        }
        for name in ["KEYS", "scan"] {
            assert_eq!(without_keys(name.as_bytes()), KeyAccess::Listed, "{name}");
        }
        for name in ["module.read", "CLUSTER", "lolwut", "keysx", ""] {
            assert_eq!(without_keys(name.as_bytes()), KeyAccess::Unknown, "{name}");
        }
    }

    #[test]
    fn positions_follow_the_table() {
        let info = |first, last, step| CommandInfo {
            arity: -2,
            write: true,
            data: true,
            movable: false,
            first,
            last,
            step,
            shape: Shape::Flat,
        };
        for (first, last, step, words, expected) in [
            (1, 1, 1, 3, &[1][..]),
            (1, -1, 1, 4, &[1, 2, 3]),
            (1, -1, 2, 5, &[1, 3]),
            (1, -2, 1, 4, &[1, 2]),
            (0, 0, 0, 4, &[]),
            (2, 2, 1, 2, &[]),
        ] {
            let found = positions(&info(first, last, step), words);
            assert_eq!(&*found, expected, "{first} {last} {step} of {words}");
        }
    }

    #[test]
    fn a_sort_by_a_pattern_has_keys_that_cannot_be_told() {
        assert!(reads_by_pattern(&[b"sort", b"l", b"by", b"w_*"]));
        assert!(reads_by_pattern(&[b"SORT_RO", b"l", b"GET", b"x*"]));
        assert!(!reads_by_pattern(&[b"SORT", b"l", b"LIMIT", b"0", b"1"]));
        assert!(!reads_by_pattern(&[b"GET", b"l", b"BY"]));
    }
}
