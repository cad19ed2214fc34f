//! A command of any kind, and a table that finds it by its name.

use ferrite_runtime::commands::{Right as FunctionRight, Spec as FunctionSpec};
use ferrite_store::DataCommand;

use crate::commands::spec::Spec;
use crate::config::Right;

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
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Server(spec) => spec.name,
            Self::Function(spec) => spec.name,
            Self::Data(command) => command.spec().name,
        }
    }

    /// Returns true if `MONITOR` shows requests of this command: those of administration and those that log
    /// in may hold secrets.
    pub(crate) fn may_be_shown(self) -> bool {
        match self {
            Self::Server(spec) => {
                !spec.before_auth && spec.right != Some(Right::Admin) && spec.name != "ACL"
            }
            Self::Function(spec) => spec.right != FunctionRight::Manage,
            Self::Data(_) => true,
        }
    }
}

/// A command that was found by its name, with its number in the table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FoundCommand {
    pub(crate) command: CommandRef,
    /// Its position in the order in which `COMMAND` lists the commands.
    pub(crate) number: u16,
}

/// Longest name that a [`Key`] can hold.
pub(in crate::commands) const NAME_BYTES_MAX: usize = 31;

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
pub(crate) struct CommandTable {
    /// Every command, each once, in the order in which `COMMAND` lists them.
    commands: Box<[CommandRef]>,
    /// Their number is a power of two.
    slots: Box<[Option<(Key, FoundCommand)>]>,
    /// The upper bits of a hash, shifted by this, are the number of a slot.
    shift: u32,
}

impl CommandTable {
    pub(in crate::commands) fn new(commands: Vec<CommandRef>) -> Self {
        let size = (2 * commands.len() + 1).next_power_of_two();
        let mut table = Self {
            commands: commands.clone().into_boxed_slice(),
            slots: vec![None; size].into_boxed_slice(),
            shift: u64::BITS - size.trailing_zeros(),
        };
        for (number, command) in commands.into_iter().enumerate() {
            let key = Key::new(command.name().as_bytes())
                .expect("a test checks that every command's name is short enough");
            let mut at = table.first_slot(&key);
            while table.slots[at].is_some() {
                at = table.next_slot(at);
            }
            let found = FoundCommand {
                command,
                // There are some hundred.
                number: number as u16,
            };
            table.slots[at] = Some((key, found));
        }
        table
    }

    /// Every command, each once, with its number.
    pub(crate) fn all_found(&self) -> impl Iterator<Item = FoundCommand> + '_ {
        self.commands
            .iter()
            .enumerate()
            .map(|(number, &command)| FoundCommand {
                command,
                // There are some hundred.
                number: number as u16,
            })
    }

    /// Every command, each once.
    pub(crate) fn all(&self) -> impl Iterator<Item = CommandRef> + '_ {
        self.commands.iter().copied()
    }

    /// Finds the command of this name, in upper or lower case.
    #[inline]
    pub(crate) fn find(&self, name: &[u8]) -> Option<FoundCommand> {
        let key = Key::new(name)?;
        let mut at = self.first_slot(&key);
        loop {
            match &self.slots[at] {
                Some((known, found)) if *known == key => return Some(*found),
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
    use super::{CommandRef, CommandTable};

    #[test]
    fn lookups_take_few_steps() {
        let data = ferrite_store::DataCommand::all().map(CommandRef::Data);
        let functions = ferrite_runtime::commands::COMMANDS.into_iter();
        let all = data.chain(functions.map(CommandRef::Function)).collect();
        let table = CommandTable::new(all);
        let filled: Vec<bool> = table.slots.iter().map(Option::is_some).collect();
        let longest = filled.split(|&filled| !filled).map(<[bool]>::len).max();
        assert!(longest <= Some(16), "{longest:?} neighbours");
    }
}
