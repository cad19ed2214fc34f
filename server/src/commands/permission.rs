//! The check of a request against its user's rights and rules.

use ferrite_protocol::keyspace::KeyAccess;
use ferrite_runtime::automation::declared::AutomationRights;
use ferrite_runtime::commands::{Command, Right as FunctionRight, Spec as FunctionSpec};
use ferrite_runtime::error::Quoted;
use ferrite_store::DataCommand;

use crate::clients::users::{User, UserCommands};
use crate::commands::command_ref::{CommandRef, CommandTable, FoundCommand};
use crate::commands::spec::Spec;
use crate::config::Right;

/// Commands on data that write, and that the right to write does not cover: they empty whole
/// databases.
const FOR_ADMINISTRATORS: [&str; 3] = ["flushall", "flushdb", "swapdb"];

/// Reason why a user may not make a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Denial {
    /// The user lacks a right.
    Right { command: String, right: Right },
    /// The user's rules do not allow the command.
    Command { command: String },
    /// The user may not access this key.
    Key(Vec<u8>),
    /// The keys of the request are known only once the data is read, and the user's are restricted.
    KeysUnknown { command: String },
    /// The user may not use this function.
    Function(Vec<u8>),
}

impl Denial {
    /// Returns the error that the client gets.
    pub(crate) fn error(&self, user: &str) -> String {
        match self {
            Self::Right { command, right } => format!(
                "NOPERM User {user} has no permission to run the '{command}' command; it needs the right {}",
                right.name()
            ),
            Self::Command { command } => {
                format!("NOPERM User {user} has no permissions to run the '{command}' command")
            }
            Self::Key(key) => format!(
                "NOPERM User {user} has no permissions to access the key {}",
                Quoted(key)
            ),
            Self::KeysUnknown { command } => format!(
                "NOPERM User {user} has no permissions to run '{command}' on keys that are known only from the data"
            ),
            Self::Function(function) => format!(
                "NOPERM User {user} has no permission to use the function {}",
                Quoted(function)
            ),
        }
    }

    /// Returns the reason and the object, as `ACL LOG` shows them.
    pub(crate) fn logged(&self) -> (&'static str, String) {
        match self {
            Self::Right { command, .. }
            | Self::Command { command }
            | Self::KeysUnknown { command } => ("command", command.clone()),
            Self::Key(key) => ("key", key.escape_ascii().to_string()),
            Self::Function(function) => ("function", function.escape_ascii().to_string()),
        }
    }
}

/// Returns the rights of which a request on data needs every one.
pub(crate) fn rights_for(command: DataCommand, argv: &[&[u8]]) -> impl Iterator<Item = Right> {
    let spec = command.spec();
    let needed = [
        (Right::Write, spec.is_write()),
        (Right::Read, spec.is_read(argv)),
        (Right::Admin, FOR_ADMINISTRATORS.contains(&spec.name)),
    ];
    let needed = needed.into_iter().filter(|(_, is_needed)| *is_needed);
    needed.map(|(right, _)| right)
}

/// Returns the rights of which a command on functions needs one.
pub(crate) const fn rights_for_functions(right: FunctionRight) -> &'static [Right] {
    match right {
        FunctionRight::Call => &[Right::Call],
        // Who loads functions may look at them.
        FunctionRight::Inspect => &[Right::Call, Right::Manage],
        FunctionRight::Manage => &[Right::Manage],
    }
}

/// Checks a request on data.
pub(crate) fn check_data(
    user: &User,
    number: u16,
    command: DataCommand,
    argv: &[&[u8]],
) -> Result<(), Denial> {
    let spec = command.spec();
    match &user.commands {
        UserCommands::Rights(rights) => {
            if let Some(right) = rights_for(command, argv).find(|&right| !rights.has(right)) {
                let command = spec.name.to_owned();
                return Err(Denial::Right { command, right });
            }
        }
        UserCommands::Rules(_) => check_rules(user, number, spec.name, argv)?,
    }
    if user.keys.is_all() {
        return Ok(());
    }
    match command.keys(argv) {
        Ok(KeyAccess::At(positions)) => {
            let write = spec.is_write();
            let read = !write || spec.is_read(argv);
            let keys = positions.iter().filter_map(|&at| argv.get(at).copied());
            check_keys(user, keys, read, write)
        }
        Ok(KeyAccess::Unknown) => Err(Denial::KeysUnknown {
            command: spec.name.to_owned(),
        }),
        // Commands on all keys are allowed or not as a whole. Another error is the command's own.
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Checks a request on functions that was read.
pub(crate) fn check_function(
    user: &User,
    number: u16,
    spec: &FunctionSpec,
    argv: &[&[u8]],
    command: &Command<'_>,
) -> Result<(), Denial> {
    check_function_command(user, number, spec, argv)?;
    if let Some(function) = command.function()
        && !user.may_use(function)
    {
        return Err(Denial::Function(function.to_owned()));
    }
    if user.keys.is_all() {
        return Ok(());
    }
    match command {
        Command::Call(call) | Command::CallAsync(call) | Command::Profile(call) => {
            check_keys(user, call.keys.iter().copied(), true, !call.read_only)
        }
        _ => Ok(()),
    }
}

/// Checks if a user may run a command on functions at all, with its subcommand.
fn check_function_command(
    user: &User,
    number: u16,
    spec: &FunctionSpec,
    argv: &[&[u8]],
) -> Result<(), Denial> {
    match &user.commands {
        UserCommands::Rights(rights) => {
            let sufficient = rights_for_functions(spec.right);
            if !sufficient.iter().any(|&right| rights.has(right)) {
                return Err(Denial::Right {
                    command: spec.name.to_ascii_lowercase(),
                    right: sufficient[0],
                });
            }
            Ok(())
        }
        UserCommands::Rules(_) => check_rules(user, number, spec.name, argv),
    }
}

/// Checks a request of a command of the server.
pub(crate) fn check_server(
    user: &User,
    number: u16,
    spec: &Spec,
    argv: &[&[u8]],
) -> Result<(), Denial> {
    match &user.commands {
        UserCommands::Rights(rights) => {
            if let Some(right) = spec.right
                && !rights.has(right)
            {
                let command = spec.name.to_ascii_lowercase();
                return Err(Denial::Right { command, right });
            }
        }
        // Everybody may authenticate.
        UserCommands::Rules(_) if spec.before_auth => {}
        UserCommands::Rules(_) => check_rules(user, number, spec.name, argv)?,
    }
    match spec.key(argv) {
        Some(key) if !user.keys.is_all() => check_keys(user, [key].into_iter(), true, false),
        _ => Ok(()),
    }
}

/// Returns what a user may add that modules declare: what the commands for it are allowed to do.
pub(crate) fn automation_rights(user: &User, table: &CommandTable) -> AutomationRights {
    let may = |name: &[u8]| match table.find(name) {
        Some(FoundCommand {
            number,
            command: CommandRef::Function(spec),
        }) => check_function_command(user, number, spec, &[name, b"ADD"]).is_ok(),
        _ => false,
    };
    AutomationRights {
        triggers: may(b"WASM.TRIGGER"),
        schedules: may(b"WASM.SCHEDULE"),
    }
}

/// Checks any request, for `ACL DRYRUN`.
pub(crate) fn check(user: &User, found: FoundCommand, argv: &[&[u8]]) -> Result<(), Denial> {
    let number = found.number;
    match found.command {
        CommandRef::Data(command) => check_data(user, number, command, argv),
        CommandRef::Server(spec) => check_server(user, number, spec, argv),
        CommandRef::Function(spec) => match spec.read(argv) {
            Ok(command) => check_function(user, number, spec, argv, &command),
            // It runs into that error.
            Err(_) => Ok(()),
        },
    }
}

fn check_rules(user: &User, number: u16, name: &str, argv: &[&[u8]]) -> Result<(), Denial> {
    match &user.commands {
        UserCommands::Rules(rules) if !rules.allow(number, argv) => Err(Denial::Command {
            command: name.to_ascii_lowercase(),
        }),
        _ => Ok(()),
    }
}

fn check_keys<'a>(
    user: &User,
    mut keys: impl Iterator<Item = &'a [u8]>,
    read: bool,
    write: bool,
) -> Result<(), Denial> {
    match keys.find(|key| !user.keys.allow(key, read, write)) {
        Some(key) => Err(Denial::Key(key.to_owned())),
        None => Ok(()),
    }
}
