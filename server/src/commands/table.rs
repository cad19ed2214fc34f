//! The table of every command by its name: those of the server, on functions and on data.

use std::sync::LazyLock;

use ferrite_runtime::commands::{COMMANDS, Spec as FunctionSpec};
use ferrite_store::DataCommand;

use crate::commands::spec::Spec;
use crate::commands::{connection, server, transactions};

/// A command, and which part of the program answers it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum CommandRef {
    /// The server itself.
    Server(&'static Spec),
    /// The runtime of functions.
    Function(&'static FunctionSpec),
    /// The store.
    Data(DataCommand),
}

impl CommandRef {
    /// The command's name, in upper or lower case.
    fn name(self) -> &'static str {
        match self {
            Self::Server(spec) => spec.name,
            Self::Function(spec) => spec.name,
            Self::Data(command) => command.spec().name,
        }
    }
}

/// The commands that the server answers itself.
static SERVER_COMMANDS: [&Spec; 18] = [
    &connection::auth::SPEC,
    &connection::client::SPEC,
    &server::command::SPEC,
    &server::config::SPEC,
    &connection::echo::SPEC,
    &connection::hello::SPEC,
    &server::info::SPEC,
    &connection::ping::SPEC,
    &connection::quit::SPEC,
    &connection::reset::SPEC,
    &connection::select::SPEC,
    &server::shutdown::SPEC,
    &server::slowlog::SPEC,
    &transactions::multi::SPEC,
    &transactions::exec::SPEC,
    &transactions::discard::SPEC,
    &transactions::watch::SPEC,
    &transactions::unwatch::SPEC,
];

/// Every command, each once, in the order in which `COMMAND` lists them.
pub(crate) fn all() -> impl Iterator<Item = CommandRef> {
    let server = SERVER_COMMANDS.into_iter().map(CommandRef::Server);
    let data = DataCommand::all().map(CommandRef::Data);
    let functions = COMMANDS.into_iter().map(CommandRef::Function);
    server.chain(data).chain(functions)
}

/// Finds the command of this name, in upper or lower case. Every request passes here once.
#[inline]
pub(crate) fn find(name: &[u8]) -> Option<CommandRef> {
    TABLE.find(&Key::new(name)?)
}

static TABLE: LazyLock<Table> = LazyLock::new(|| Table::new(all().collect()));

/// Longest name that a [`Key`] can hold.
const NAME_BYTES_MAX: usize = 31;

/// A name in lower case, padded with zeros; the last byte is the name's length.
///
/// Keys have one size, so that hashing and comparing them takes a few instructions.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Key([u64; 4]);

impl Key {
    /// Returns `None` for a name that is longer than that of any command.
    #[inline]
    fn new(name: &[u8]) -> Option<Self> {
        let mut bytes = [0; NAME_BYTES_MAX + 1];
        bytes[..NAME_BYTES_MAX]
            .get_mut(..name.len())?
            .copy_from_slice(name);
        bytes.make_ascii_lowercase();
        bytes[NAME_BYTES_MAX] = name.len() as u8;
        let (words, _) = bytes.as_chunks::<8>();
        Some(Self([0, 1, 2, 3].map(|at| u64::from_le_bytes(words[at]))))
    }

    /// Mixes the words and multiplies by 2⁶⁴ divided by the golden ratio, which spreads them over the
    /// upper bits. Clients cannot add names, so nothing needs protection from chosen collisions.
    #[inline]
    const fn hash(&self) -> u64 {
        let [first, second, third, fourth] = self.0;
        let mixed = first ^ second.rotate_left(17) ^ third.rotate_left(34) ^ fourth.rotate_left(51);
        mixed.wrapping_mul(0x9E37_79B9_7F4A_7C15)
    }
}

/// A hash table with open addressing, filled once. More than half of its slots are empty.
struct Table {
    /// Their number is a power of two.
    slots: Box<[Option<(Key, CommandRef)>]>,
    /// The upper bits of a hash, shifted by this, are the number of a slot.
    shift: u32,
}

impl Table {
    fn new(commands: Vec<CommandRef>) -> Self {
        let size = (2 * commands.len() + 1).next_power_of_two();
        let mut table = Self {
            slots: vec![None; size].into_boxed_slice(),
            shift: u64::BITS - size.trailing_zeros(),
        };
        for command in commands {
            let key = Key::new(command.name().as_bytes())
                .expect("a test checks that every command's name is short enough");
            let mut at = table.first_slot(&key);
            while table.slots[at].is_some() {
                at = table.next_slot(at);
            }
            table.slots[at] = Some((key, command));
        }
        table
    }

    #[inline]
    fn find(&self, key: &Key) -> Option<CommandRef> {
        let mut at = self.first_slot(key);
        loop {
            match &self.slots[at] {
                Some((known, command)) if known == key => return Some(*command),
                Some(_) => at = self.next_slot(at),
                None => return None,
            }
        }
    }

    #[inline]
    const fn first_slot(&self, key: &Key) -> usize {
        (key.hash() >> self.shift) as usize
    }

    #[inline]
    const fn next_slot(&self, at: usize) -> usize {
        (at + 1) & (self.slots.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::{CommandRef, NAME_BYTES_MAX, TABLE, all, find};

    #[test]
    fn every_command_is_found_in_upper_and_lower_case() {
        let mut names = HashSet::new();
        for command in all() {
            let name = command.name();
            assert!(name.len() <= NAME_BYTES_MAX, "{name}");
            assert!(names.insert(name.to_ascii_lowercase()), "{name} twice");
            for typed in [name.to_ascii_lowercase(), name.to_ascii_uppercase()] {
                let found = find(typed.as_bytes()).map(CommandRef::name);
                assert_eq!(found, Some(name));
            }
        }
    }

    #[test]
    fn other_names_are_not_found() {
        let long = [b'x'; 100];
        for name in [
            &b""[..],
            b"ge",
            b"gett",
            b"get\0",
            b"g\xc5t",
            b"wasm.cal",
            &long[..NAME_BYTES_MAX],
            &long[..NAME_BYTES_MAX + 1],
            &long,
        ] {
            assert!(find(name).is_none(), "{}", name.escape_ascii());
        }
    }

    #[test]
    fn lookups_take_few_steps() {
        let filled: Vec<bool> = TABLE.slots.iter().map(Option::is_some).collect();
        let longest = filled.split(|&filled| !filled).map(<[bool]>::len).max();
        assert!(longest <= Some(16), "{longest:?} neighbours");
    }
}
