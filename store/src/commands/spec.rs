//! The description of a command: name, arity, flags, positions of its keys, documentation.

use ferrite_protocol::keyspace::KeyAccess;
use smallvec::SmallVec;

use crate::error::StoreError;
use crate::execution::core::Core;
use crate::execution::direct::Direct;
use crate::transaction::view::TransactionView;
use ferrite_protocol::arity;
use ferrite_protocol::number::parse_integer;
use ferrite_protocol::resp::ReplyWriter;

/// A request: the name and its arguments.
pub(super) type Argv<'a> = &'a [&'a [u8]];
/// Receives the reply.
pub(super) type Out<'a> = &'a mut dyn ReplyWriter;
/// The error reply, if the command fails.
pub(super) type Answer = Result<(), StoreError>;

/// The command writes.
pub const WRITE: u32 = 1 << 0;
/// The command only reads.
pub const READONLY: u32 = 1 << 1;
/// The command may use up memory.
pub const DENYOOM: u32 = 1 << 2;
/// The command's cost does not grow with the data.
pub const FAST: u32 = 1 << 3;
/// The command may wait for another client.
pub const BLOCKING: u32 = 1 << 4;
/// Fixed positions do not cover all keys of the command.
pub const MOVABLEKEYS: u32 = 1 << 5;
/// The command writes, and neither its reply nor what it writes tells a value that a key had: counts,
/// lengths and whether a key or an element exists are no values.
pub const BLIND: u32 = 1 << 6;
/// The command is not [`BLIND`] with the option `GET` or `IFEQ`.
pub(crate) const BLIND_BUT_GET: u32 = 1 << 7;
/// The command is not [`BLIND`] with the option `INCR`.
pub(crate) const BLIND_BUT_INCR: u32 = 1 << 8;
/// The command reaches keys of another database.
pub(crate) const OTHER_DATABASE: u32 = 1 << 9;
/// The command reaches keys of another database with the option `DB`.
pub(crate) const OPTION_DB: u32 = 1 << 10;

/// Names of the flags, as `COMMAND` answers them.
const FLAG_NAMES: [(u32, &str); 6] = [
    (WRITE, "write"),
    (READONLY, "readonly"),
    (DENYOOM, "denyoom"),
    (FAST, "fast"),
    (BLOCKING, "blocking"),
    (MOVABLEKEYS, "movablekeys"),
];

/// A data command as `COMMAND` and a permission check see it.
#[derive(Clone, Copy, Debug)]
pub struct CommandSpec {
    /// The name in lower case.
    pub name: &'static str,
    /// Number of arguments, the name included. A negative number is a minimum.
    pub arity: i32,
    /// A set of [`WRITE`], [`READONLY`] and the others.
    pub flags: u32,
    /// Positions of the keys.
    pub keys: Keys,
    /// Its group in the documentation, such as `string`.
    pub group: &'static str,
    /// Its arguments in the notation of `redis-cli`'s help.
    pub arguments: &'static str,
    /// A sentence that describes the command.
    pub summary: &'static str,
    /// Subcommands with their arities, for a command whose first argument is one of them.
    pub subcommands: &'static [(&'static str, i32)],
}

/// Positions of a command's keys among its arguments. Argument 0 is the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keys {
    /// The command reads and writes no keys.
    None,
    /// From `first` to `last` by `step`; a negative `last` counts from the end.
    Positions {
        /// First key.
        first: usize,
        /// Last key.
        last: i32,
        /// From one key to the next.
        step: usize,
    },
    /// Argument `count` holds the number of keys, which follow it; one more is at `also`, if not 0.
    Counted {
        /// Argument that holds the number of keys.
        count: usize,
        /// Another key before them, such as a destination; 0 for none.
        also: usize,
    },
    /// Argument `count` holds the number of pairs that follow it; each begins with a key.
    CountedPairs {
        /// Argument that holds the number of pairs.
        count: usize,
    },
    /// The first argument and the one after `STORE`; patterns after `BY` and `GET` name others.
    Sort,
    /// The first argument and the last one after `STORE` or `STOREDIST`.
    FirstAndStored,
    /// All keys of a database.
    All,
    /// Names of keys; those that the caller may not see are left out.
    Listed,
}

impl Keys {
    /// Argument 1 alone.
    pub const FIRST: Self = Self::Positions {
        first: 1,
        last: 1,
        step: 1,
    };
    /// Arguments 1 and 2.
    pub const TWO: Self = Self::Positions {
        first: 1,
        last: 2,
        step: 1,
    };
    /// All arguments.
    pub const EVERY: Self = Self::Positions {
        first: 1,
        last: -1,
        step: 1,
    };
}

impl CommandSpec {
    /// Returns an error if the command may need more memory, and none is to be had.
    #[inline]
    pub(crate) fn check_memory(&self, core: &Core) -> Result<(), StoreError> {
        if self.may_grow() {
            core.check_memory()
        } else {
            Ok(())
        }
    }

    /// Returns true if the command may need more memory.
    #[inline]
    pub(crate) fn may_grow(&self) -> bool {
        self.flags & DENYOOM != 0
    }

    /// Returns true if the command writes.
    pub fn is_write(&self) -> bool {
        self.flags & WRITE != 0
    }

    /// Returns true if the request reads: if it does nothing else, or if its reply or what it writes
    /// tells a value.
    pub fn is_read(&self, argv: &[&[u8]]) -> bool {
        let has = |flag| self.flags & flag != 0;
        if has(BLIND_BUT_GET) {
            any_is(argv, 3, b"GET") || any_is(argv, 3, b"IFEQ")
        } else if has(BLIND_BUT_INCR) {
            // Its options end at the first score.
            let options = argv.iter().skip(2).take_while(|word| is_option(word));
            options
                .into_iter()
                .any(|word| word.eq_ignore_ascii_case(b"INCR"))
        } else {
            !has(BLIND)
        }
    }

    /// Returns true if the request reaches keys of another database than the client's.
    pub(crate) fn reaches_other_database(&self, argv: &[&[u8]]) -> bool {
        self.flags & OTHER_DATABASE != 0 || (self.flags & OPTION_DB != 0 && any_is(argv, 3, b"DB"))
    }

    /// Returns true if the command takes this number of arguments.
    pub fn takes(&self, arguments: usize) -> bool {
        arity::takes(self.arity, arguments)
    }

    /// Refuses a request with another number of arguments than the command or its subcommand takes,
    /// and an unknown subcommand.
    pub(crate) fn check_shape(&self, argv: &[&[u8]]) -> Result<(), StoreError> {
        if !self.takes(argv.len()) {
            return Err(StoreError::Arity(self.name.into()));
        }
        if self.subcommands.is_empty() {
            return Ok(());
        }
        let found = self
            .subcommands
            .iter()
            .find(|(name, _)| argv[1].eq_ignore_ascii_case(name.as_bytes()));
        match found {
            Some((_, arity)) if arity::takes(*arity, argv.len()) => Ok(()),
            Some((name, _)) => Err(StoreError::Arity(format!("{}|{name}", self.name).into())),
            None => {
                let name = String::from_utf8_lossy(argv[1]);
                let own = self.name.to_ascii_uppercase();
                Err(StoreError::with(format!(
                    "ERR unknown subcommand '{name:.128}'. Try {own} HELP."
                )))
            }
        }
    }

    /// The flags by their names in `COMMAND`.
    pub fn flag_names(&self) -> impl Iterator<Item = &'static str> + use<> {
        let flags = self.flags;
        FLAG_NAMES
            .iter()
            .filter(move |(flag, _)| flags & flag != 0)
            .map(|(_, name)| *name)
    }

    /// First key, last key and step, as `COMMAND` answers them.
    pub fn key_positions(&self) -> (i32, i32, i32) {
        match self.keys {
            // Positions are small numbers written in the tables of the families.
            Keys::Positions { first, last, step } => (first as i32, last, step as i32),
            Keys::Counted { also, .. } if also != 0 => (also as i32, also as i32, 1),
            Keys::Sort | Keys::FirstAndStored => (1, 1, 1),
            Keys::None
            | Keys::Counted { .. }
            | Keys::CountedPairs { .. }
            | Keys::All
            | Keys::Listed => (0, 0, 0),
        }
    }

    /// Returns the keys of a request, whose number of arguments was checked.
    ///
    /// # Errors
    /// The error that the command itself would answer to an impossible number of keys.
    pub(crate) fn access(&self, argv: &[&[u8]]) -> Result<KeyAccess, StoreError> {
        match self.keys {
            Keys::None => Ok(KeyAccess::None),
            Keys::All => Ok(KeyAccess::All),
            Keys::Listed => Ok(KeyAccess::Listed),
            Keys::Positions { first, last, step } => {
                let last = match usize::try_from(last) {
                    Ok(last) => last,
                    Err(_) => argv.len().saturating_sub(last.unsigned_abs() as usize),
                };
                let end = last.min(argv.len() - 1) + 1;
                Ok(KeyAccess::At((first..end).step_by(step).collect()))
            }
            Keys::Counted { count, also } => {
                let first = count + 1;
                let end = first.saturating_add(number_at(argv, count)).min(argv.len());
                let own = (also != 0).then_some(also);
                Ok(KeyAccess::At(own.into_iter().chain(first..end).collect()))
            }
            Keys::FirstAndStored => {
                let mut keys = SmallVec::from_slice(&[1]);
                // Before that stand a member or a place, a radius and a unit.
                let mut at = 5;
                while at + 1 < argv.len() {
                    let stores = argv[at].eq_ignore_ascii_case(b"store")
                        || argv[at].eq_ignore_ascii_case(b"storedist");
                    if stores {
                        keys.truncate(1);
                        at += 1;
                        keys.push(at);
                    }
                    at += 1;
                }
                Ok(KeyAccess::At(keys))
            }
            Keys::CountedPairs { count } => {
                let first = count + 1;
                let pairs = number_at(argv, count).saturating_mul(2);
                let end = first.saturating_add(pairs).min(argv.len());
                Ok(KeyAccess::At((first..end).step_by(2).collect()))
            }
            Keys::Sort => {
                let mut keys = SmallVec::from_slice(&[1]);
                let mut at = 2;
                while at < argv.len() {
                    let with_value = at + 1 < argv.len();
                    if argv[at].eq_ignore_ascii_case(b"store") && with_value {
                        keys.truncate(1);
                        keys.push(at + 1);
                        at += 1;
                    } else if argv[at].eq_ignore_ascii_case(b"limit") {
                        at += 2;
                    } else if (argv[at].eq_ignore_ascii_case(b"by")
                        || argv[at].eq_ignore_ascii_case(b"get"))
                        && with_value
                    {
                        at += 1;
                        if argv[at].contains(&b'*') {
                            return Ok(KeyAccess::Unknown);
                        }
                    }
                    at += 1;
                }
                Ok(KeyAccess::At(keys))
            }
        }
    }
}

/// The number of keys in a request. The command itself reports an error in it.
fn number_at(argv: &[&[u8]], at: usize) -> usize {
    let number = argv.get(at).and_then(|text| parse_integer(text));
    number
        .and_then(|number| usize::try_from(number).ok())
        .unwrap_or(0)
}

/// Returns true if one of the arguments from `start` on is this word.
fn any_is(argv: &[&[u8]], start: usize, word: &[u8]) -> bool {
    argv.iter()
        .skip(start)
        .any(|argument| argument.eq_ignore_ascii_case(word))
}

/// Returns true for an argument of `ZADD` that is no score.
fn is_option(word: &[u8]) -> bool {
    [&b"NX"[..], b"XX", b"GT", b"LT", b"CH", b"INCR"]
        .iter()
        .any(|option| word.eq_ignore_ascii_case(option))
}

/// A command: its description, and its one implementation for both views.
pub(crate) struct Command {
    pub(super) spec: CommandSpec,
    pub(super) direct: fn(&mut Direct<'_>, Argv<'_>, Out<'_>) -> Answer,
    pub(super) in_transaction: fn(&mut TransactionView<'_>, Argv<'_>, Out<'_>) -> Answer,
}

impl Command {
    pub(crate) fn spec(&self) -> &CommandSpec {
        &self.spec
    }

    pub(crate) fn run_direct(
        &self,
        view: &mut Direct<'_>,
        argv: &[&[u8]],
        out: &mut dyn ReplyWriter,
    ) -> Result<(), StoreError> {
        (self.direct)(view, argv, out)
    }

    pub(crate) fn run_in_transaction(
        &self,
        view: &mut TransactionView<'_>,
        argv: &[&[u8]],
        out: &mut dyn ReplyWriter,
    ) -> Result<(), StoreError> {
        (self.in_transaction)(view, argv, out)
    }
}

/// Lists a family's commands. A row has the name, arity, flags, keys and the function that runs it,
/// then the answer of `COMMAND DOCS`: the group, the arguments and the summary; and the subcommands,
/// if it has any.
macro_rules! commands {
    (@subcommands) => { &[] };
    (@subcommands $subcommands:expr) => { $subcommands };
    ($($name:literal, $arity:literal, $flags:expr, $keys:expr => $run:path,
        $group:literal, $arguments:literal, $summary:literal $(, $subcommands:expr)?;)*) => {
        pub(in $crate::commands) const COMMANDS: &[$crate::commands::spec::Command] = &[$(
            $crate::commands::spec::Command {
                spec: $crate::commands::spec::CommandSpec {
                    name: $name,
                    arity: $arity,
                    flags: $flags,
                    keys: $keys,
                    group: $group,
                    arguments: $arguments,
                    summary: $summary,
                    subcommands: $crate::commands::spec::commands!(@subcommands $($subcommands)?),
                },
                direct: |view, argv, out| $run(view, argv, out),
                in_transaction: |view, argv, out| $run(view, argv, out),
            },
        )*];
    };
}
pub(super) use commands;
