//! The one table of commands: those of the server, on functions and on data.

use std::sync::LazyLock;

use ferrite_runtime::automation::declared::AutomationRights;
use ferrite_runtime::commands::COMMANDS;
use ferrite_store::DataCommand;

use crate::clients::users::User;
use crate::commands::command_ref::{CommandRef, CommandTable, FoundCommand};
use crate::commands::permission;
use crate::commands::server::acl::{UsersFileError, read_users};
use crate::commands::spec::Spec;
use crate::commands::{connection, pubsub, server, transactions};
use crate::config::Config;
use crate::state::ServerState;

/// `COMMAND` describes the table that it stands in, so it gets the table from here.
static COMMAND: Spec =
    server::command::spec(|context, argv| server::command::run(context, argv, &TABLE));

/// The rules of `ACL` name commands of the table that it stands in.
static ACL: Spec = server::acl::spec(|context, argv| server::acl::run(context, argv, &TABLE));

/// `CONFIG SET` may change users, whose rules name commands of the table that it stands in.
static CONFIG: Spec =
    server::config::spec(|context, argv| server::config::run(context, argv, &TABLE));

/// `FUNCTION LOAD` asks if the user may run other commands of the table that it stands in.
static FUNCTION: Spec =
    server::function::spec(|context, argv| server::function::run(context, argv, &TABLE));

/// The commands that the server answers itself.
static SERVER_COMMANDS: &[&Spec] = &[
    &connection::auth::SPEC,
    &connection::client::SPEC,
    &ACL,
    &COMMAND,
    &CONFIG,
    &connection::echo::SPEC,
    &connection::hello::SPEC,
    &FUNCTION,
    &server::info::SPEC,
    &server::latency::SPEC,
    &server::memory::SPEC,
    &server::monitor::SPEC,
    &server::role::SPEC,
    &server::save::SAVE,
    &server::save::BGSAVE,
    &server::save::LASTSAVE,
    &connection::ping::SPEC,
    &connection::quit::SPEC,
    &connection::reset::SPEC,
    &connection::select::SPEC,
    &server::shutdown::SPEC,
    &server::slowlog::SPEC,
    &server::time::SPEC,
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

pub(in crate::commands) static TABLE: LazyLock<CommandTable> = LazyLock::new(|| {
    let server = SERVER_COMMANDS.iter().copied().map(CommandRef::Server);
    let data = DataCommand::all().map(CommandRef::Data);
    let functions = COMMANDS.into_iter().map(CommandRef::Function);
    CommandTable::new(server.chain(data).chain(functions).collect())
});

/// Reads the users of a configuration and of its file of users, and puts them into force.
///
/// # Errors
///
/// If the file cannot be read, or is wrong.
pub fn load_users(state: &ServerState) -> Result<(), UsersFileError> {
    let users = read_users(&state.live.current(), &TABLE)?;
    state.users.replace(users);
    Ok(())
}

/// Checks the users of a configuration and of its file of users.
///
/// # Errors
///
/// If the file cannot be read, or is wrong.
pub fn check_users(config: &Config) -> Result<(), UsersFileError> {
    read_users(config, &TABLE).map(drop)
}

/// Returns the names of all commands, in the order of their numbers.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    TABLE.all().map(CommandRef::name)
}

/// Finds the command of this name, in upper or lower case. Every request passes here once.
#[inline]
pub(crate) fn find(name: &[u8]) -> Option<FoundCommand> {
    TABLE.find(name)
}

/// Returns what a user may add that modules declare.
pub(crate) fn automation_rights(user: &User) -> AutomationRights {
    permission::automation_rights(user, &TABLE)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::{TABLE, find};
    use crate::commands::command_ref::NAME_BYTES_MAX;

    #[test]
    fn every_command_is_found_in_upper_and_lower_case() {
        let mut names = HashSet::new();
        for command in TABLE.all() {
            let name = command.name();
            assert!(name.len() <= NAME_BYTES_MAX, "{name}");
            assert!(names.insert(name.to_ascii_lowercase()), "{name} twice");
            for typed in [name.to_ascii_lowercase(), name.to_ascii_uppercase()] {
                let found = find(typed.as_bytes()).map(|found| found.command.name());
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
