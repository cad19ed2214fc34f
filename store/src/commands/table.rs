//! Finds a command by its name.

use std::sync::LazyLock;

use hashbrown::HashTable;

use super::spec::{Command, CommandSpec};
use super::{blocking, geo, hashes, keys, lists, sets, strings, zsets};
use crate::error::StoreError;
use crate::value::hashing::hash;

/// Longest name of a command; bounds the copy of a name in a lookup.
const NAME_LEN_MAX: usize = 32;
/// Most bytes of an unknown command's name and arguments that the error repeats.
const ECHO_LEN_MAX: usize = 128;

const FAMILIES: &[&[Command]] = &[
    strings::COMMANDS,
    strings::counters::COMMANDS,
    strings::bits::COMMANDS,
    strings::hyperloglog::COMMANDS,
    strings::lcs::COMMANDS,
    strings::bitfield::COMMANDS,
    keys::COMMANDS,
    keys::dump::COMMANDS,
    keys::expiry::COMMANDS,
    keys::object::COMMANDS,
    keys::sort::COMMANDS,
    hashes::COMMANDS,
    hashes::expiry::COMMANDS,
    lists::COMMANDS,
    lists::search::COMMANDS,
    blocking::COMMANDS,
    sets::COMMANDS,
    sets::algebra::COMMANDS,
    zsets::COMMANDS,
    zsets::ranges::COMMANDS,
    zsets::algebra::COMMANDS,
    geo::COMMANDS,
    geo::search::COMMANDS,
];

static TABLE: LazyLock<HashTable<&'static Command>> = LazyLock::new(|| {
    let mut table = HashTable::new();
    for command in FAMILIES.iter().copied().flatten() {
        let name_hash = hash(command.spec.name.as_bytes());
        table.insert_unique(name_hash, command, |command| {
            hash(command.spec.name.as_bytes())
        });
    }
    table
});

/// All data commands.
pub(crate) fn commands() -> impl Iterator<Item = &'static Command> {
    FAMILIES.iter().copied().flatten()
}

/// The descriptions of all data commands.
pub(crate) fn specs() -> impl Iterator<Item = &'static CommandSpec> {
    commands().map(|command| &command.spec)
}

/// Finds a command by its name, in upper or lower case.
pub(crate) fn find(name: &[u8]) -> Option<&'static Command> {
    let mut lower = [0; NAME_LEN_MAX];
    let lower = lower.get_mut(..name.len())?;
    lower.copy_from_slice(name);
    lower.make_ascii_lowercase();
    TABLE
        .find(hash(lower), |command| command.spec.name.as_bytes() == lower)
        .copied()
}

/// Finds the command of a request, if it exists and the number of arguments is right.
pub(crate) fn checked(argv: &[&[u8]]) -> Result<&'static Command, StoreError> {
    let Some(name) = argv.first() else {
        return Err(StoreError::Refused("ERR empty command"));
    };
    let command = find(name).ok_or_else(|| unknown(argv))?;
    command.spec.check_shape(argv)?;
    Ok(command)
}

fn unknown(argv: &[&[u8]]) -> StoreError {
    let cut = |bytes: &[u8], most: usize| {
        String::from_utf8_lossy(&bytes[..bytes.len().min(most)]).into_owned()
    };
    let mut arguments = String::new();
    for argument in &argv[1..] {
        if arguments.len() >= ECHO_LEN_MAX {
            break;
        }
        arguments += &format!("'{}' ", cut(argument, ECHO_LEN_MAX - arguments.len()));
    }
    let name = cut(argv[0], ECHO_LEN_MAX);
    let text = format!("ERR unknown command '{name}', with args beginning with: {arguments}");
    StoreError::UnknownCommand(text.replace(['\r', '\n'], " ").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_lower_case_unique_and_short_enough_to_be_found() {
        let mut names: Vec<_> = specs().map(|spec| spec.name).collect();
        for name in &names {
            assert!(
                find(name.to_ascii_uppercase().as_bytes()).is_some(),
                "{name}"
            );
        }
        let len = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), len);
    }

    #[test]
    fn every_command_either_reads_or_writes() {
        for spec in specs() {
            let kinds = spec.flags & (super::super::spec::WRITE | super::super::spec::READONLY);
            assert_eq!(kinds.count_ones(), 1, "{}", spec.name);
        }
    }

    #[test]
    fn unknown_commands_and_arities_answer_as_redis_does() {
        let texts = |argv: &[&[u8]]| checked(argv).err().map(|error| error.to_string());
        assert_eq!(
            texts(&[b"NoSuch", b"a", b"b\r\n"]).as_deref(),
            Some("ERR unknown command 'NoSuch', with args beginning with: 'a' 'b  ' ")
        );
        assert_eq!(
            texts(&[b"GET"]).as_deref(),
            Some("ERR wrong number of arguments for 'get' command")
        );
    }
}
