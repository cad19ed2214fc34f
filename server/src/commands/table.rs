//! The one table of commands: those of the server, on functions and on data.

use std::sync::LazyLock;

use ferrite_runtime::commands::COMMANDS;
use ferrite_store::DataCommand;

use crate::commands::command_ref::{CommandRef, CommandTable};
use crate::commands::spec::Spec;
use crate::commands::{connection, pubsub, server, transactions};

/// `COMMAND` describes the table that it stands in, so it gets the table from here.
static COMMAND: Spec =
    server::command::spec(|context, argv| server::command::run(context, argv, &TABLE));

/// The commands that the server answers itself.
static SERVER_COMMANDS: [&Spec; 25] = [
    &connection::auth::SPEC,
    &connection::client::SPEC,
    &COMMAND,
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
    &server::wait::SPEC,
    &pubsub::publish::SPEC,
    &pubsub::channels::SPEC,
    &pubsub::subscribe::SPEC,
    &pubsub::subscribe::PATTERN_SPEC,
    &pubsub::unsubscribe::SPEC,
    &pubsub::unsubscribe::PATTERN_SPEC,
    &transactions::multi::SPEC,
    &transactions::exec::SPEC,
    &transactions::discard::SPEC,
    &transactions::watch::SPEC,
    &transactions::unwatch::SPEC,
];

static TABLE: LazyLock<CommandTable> = LazyLock::new(|| {
    let server = SERVER_COMMANDS.into_iter().map(CommandRef::Server);
    let data = DataCommand::all().map(CommandRef::Data);
    let functions = COMMANDS.into_iter().map(CommandRef::Function);
    CommandTable::new(server.chain(data).chain(functions).collect())
});

/// Finds the command of this name, in upper or lower case. Every request passes here once.
#[inline]
pub(crate) fn find(name: &[u8]) -> Option<CommandRef> {
    TABLE.find(name)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::{TABLE, find};
    use crate::commands::command_ref::{CommandRef, NAME_BYTES_MAX};

    #[test]
    fn every_command_is_found_in_upper_and_lower_case() {
        let mut names = HashSet::new();
        for command in TABLE.all() {
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
}
