//! Every command there is: the server's own, those on data, those on functions.

use ferrite_protocol::keyspace::KeyAccess;
use ferrite_runtime::commands::{COMMANDS, Keys as FunctionKeys, find as find_function};
use ferrite_store::StoreError;

use crate::commands::SPECS;
use crate::state::Host;

/// What is known of a command.
#[derive(Clone, Debug)]
pub(in crate::commands) struct Entry {
    /// In lower case.
    pub(in crate::commands) name: String,
    pub(in crate::commands) arity: i32,
    pub(in crate::commands) flags: Vec<&'static str>,
    /// First, last and step.
    pub(in crate::commands) keys: (i32, i32, i32),
    pub(in crate::commands) group: &'static str,
    pub(in crate::commands) summary: &'static str,
    pub(in crate::commands) arguments: &'static str,
}

/// Why the keys of a request cannot be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::commands) enum KeysError {
    UnknownCommand,
    Arity,
    Unknown,
}

impl KeysError {
    pub(in crate::commands) const fn text(self) -> &'static str {
        match self {
            Self::UnknownCommand => "ERR Invalid command specified",
            Self::Arity => "ERR Invalid number of arguments specified for command",
            Self::Unknown => "ERR The keys of this request depend on the data",
        }
    }
}

/// Every command, each once.
pub(in crate::commands) fn all(host: &Host) -> Vec<Entry> {
    let own = SPECS.iter().map(|spec| Entry {
        name: spec.name.to_ascii_lowercase(),
        arity: spec.arity,
        flags: spec.flags.to_vec(),
        keys: (0, 0, 0),
        group: spec.group,
        summary: spec.summary,
        arguments: spec.arguments,
    });
    let data = host.store.commands().map(|spec| Entry {
        name: spec.name.to_owned(),
        arity: spec.arity,
        flags: spec.flag_names().collect(),
        keys: spec.key_positions(),
        group: spec.group,
        summary: spec.summary,
        arguments: spec.arguments,
    });
    let functions = host
        .functions
        .iter()
        .flat_map(|_| COMMANDS)
        .map(|spec| Entry {
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
        });
    own.chain(data).chain(functions).collect()
}

/// The keys of a request.
pub(in crate::commands) fn keys<'a>(
    host: &Host,
    request: &[&'a [u8]],
) -> Result<Vec<&'a [u8]>, KeysError> {
    if let Some(spec) = crate::commands::find(request[0]) {
        return if spec.takes(request.len()) {
            Ok(Vec::new())
        } else {
            Err(KeysError::Arity)
        };
    }
    if let Some(spec) = find_function(request[0]) {
        let positions = spec.key_positions(request).map_err(|_| KeysError::Arity)?;
        return Ok(request[positions].to_vec());
    }
    let access = host.store.access(request).map_err(|error| match error {
        StoreError::Arity(_) => KeysError::Arity,
        _ => KeysError::UnknownCommand,
    })?;
    match access.keys {
        KeyAccess::None | KeyAccess::All => Ok(Vec::new()),
        KeyAccess::At(indexes) => Ok(indexes
            .iter()
            .filter_map(|&index| request.get(index).copied())
            .collect()),
        KeyAccess::Unknown => Err(KeysError::Unknown),
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
