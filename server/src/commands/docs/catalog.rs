//! The description of each command that `COMMAND` shows.

use ferrite_protocol::keyspace::KeyAccess;
use ferrite_runtime::commands::Keys as FunctionKeys;
use ferrite_store::StoreError;

use crate::commands::command_ref::{CommandRef, CommandTable};
use crate::state::ServerState;

/// The description of a command.
#[derive(Clone, Debug)]
pub(in crate::commands) struct Entry {
    /// In lower case.
    pub(in crate::commands) name: String,
    /// Number of words with the name; if negative, that many or more.
    pub(in crate::commands) arity: i32,
    pub(in crate::commands) flags: Vec<&'static str>,
    /// Positions of the first and the last key, and the step between keys.
    pub(in crate::commands) keys: (i32, i32, i32),
    pub(in crate::commands) group: &'static str,
    pub(in crate::commands) summary: &'static str,
    pub(in crate::commands) arguments: &'static str,
}

/// Reason why a request has no list of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::commands) enum KeysError {
    UnknownCommand,
    Arity,
    DependsOnData,
}

impl KeysError {
    pub(in crate::commands) const fn text(self) -> &'static str {
        match self {
            Self::UnknownCommand => "ERR Invalid command specified",
            Self::Arity => "ERR Invalid number of arguments specified for command",
            Self::DependsOnData => "ERR The keys of this request depend on the data",
        }
    }
}

/// Every command that can be run, each once.
pub(in crate::commands) fn all(
    state: &ServerState,
    table: &CommandTable,
) -> impl Iterator<Item = Entry> {
    table
        .all()
        .filter(|&command| is_enabled(state, command))
        .map(entry)
}

/// The command of this name, in upper or lower case.
pub(in crate::commands) fn find(
    state: &ServerState,
    table: &CommandTable,
    name: &[u8],
) -> Option<Entry> {
    table
        .find(name)
        .map(|found| found.command)
        .filter(|&command| is_enabled(state, command))
        .map(entry)
}

/// Returns false for commands on functions if functions are switched off.
const fn is_enabled(state: &ServerState, command: CommandRef) -> bool {
    !matches!(command, CommandRef::Function(_)) || state.functions.is_some()
}

fn entry(command: CommandRef) -> Entry {
    match command {
        CommandRef::Server(spec) => Entry {
            name: spec.name.to_ascii_lowercase(),
            arity: spec.arity,
            flags: spec.flags.to_vec(),
            keys: (0, 0, 0),
            group: spec.group,
            summary: spec.summary,
            arguments: spec.arguments,
        },
        CommandRef::Data(command) => {
            let spec = command.spec();
            Entry {
                name: spec.name.to_owned(),
                arity: spec.arity,
                flags: spec.flag_names().collect(),
                keys: spec.key_positions(),
                group: spec.group,
                summary: spec.summary,
                arguments: spec.arguments,
            }
        }
        CommandRef::Function(spec) => Entry {
            name: spec.name.to_ascii_lowercase(),
            arity: spec.arity,
            flags: spec.flags.to_vec(),
            keys: match spec.keys {
                FunctionKeys::Counted => (3, 3, 1),
                FunctionKeys::None | FunctionKeys::AfterWord => (0, 0, 0),
            },
            group: "functions",
            summary: spec.summary,
            arguments: spec.syntax,
        },
    }
}

/// The keys of a request, which has at least one word.
pub(in crate::commands) fn keys<'a>(
    table: &CommandTable,
    request: &[&'a [u8]],
) -> Result<Vec<&'a [u8]>, KeysError> {
    let found = table.find(request[0]).ok_or(KeysError::UnknownCommand)?;
    match found.command {
        CommandRef::Server(spec) if spec.takes(request.len()) => {
            Ok(spec.key(request).into_iter().collect())
        }
        CommandRef::Server(_) => Err(KeysError::Arity),
        CommandRef::Function(spec) => {
            let positions = spec.key_positions(request).map_err(|_| KeysError::Arity)?;
            Ok(request[positions].to_vec())
        }
        CommandRef::Data(command) => {
            let keys = command.keys(request).map_err(|error| match error {
                StoreError::Arity(_) => KeysError::Arity,
                _ => KeysError::UnknownCommand,
            })?;
            match keys {
                KeyAccess::None | KeyAccess::All | KeyAccess::Listed => Ok(Vec::new()),
                KeyAccess::At(indexes) => Ok(indexes
                    .iter()
                    .filter_map(|&index| request.get(index).copied())
                    .collect()),
                KeyAccess::Unknown => Err(KeysError::DependsOnData),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use ferrite_store::{Store, StoreOptions};

    use crate::commands::docs::usage;

    #[test]
    fn as_many_arguments_are_told_as_a_command_takes() {
        let store = Store::in_memory(&StoreOptions::default());
        for spec in store.commands() {
            let arguments = usage::parse(spec.arguments);
            let needed = arguments
                .iter()
                .map(usage::Argument::words_min)
                .sum::<usize>();
            let optional = arguments.iter().any(usage::Argument::is_open);
            let least = spec.arity.unsigned_abs() as usize - 1;
            assert_eq!(needed, least, "{} {}", spec.name, spec.arguments);
            assert_eq!(optional, spec.arity < 0, "{} {}", spec.name, spec.arguments);
            assert!(spec.summary.ends_with('.'), "{}", spec.name);
        }
    }
}
