//! The file of users, `server.acl_file`, with a line of rules for each.

use std::io;
use std::path::{Path, PathBuf};

use super::rules;
use crate::clients::users::{User, Users, UsersError};
use crate::commands::command_ref::CommandTable;
use crate::config::{Config, ConfigError, replace_file};
use crate::state::ServerState;

/// Largest file of users.
const BYTES_MAX: u64 = 16 << 20;

/// Reason why the users could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum UsersFileError {
    /// No file is configured.
    #[error(
        "there is no file of users; set server.acl_file, or use CONFIG REWRITE for server.users"
    )]
    NotConfigured,
    /// The file cannot be read or written.
    #[error("{} cannot be {action}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The action that failed, as a participle.
        action: &'static str,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// A line is wrong.
    #[error("{}:{line}: {problem}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The fault.
        problem: String,
    },
    /// The configuration file is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Its users are wrong.
    #[error(transparent)]
    Users(#[from] UsersError),
}

/// Reads the users of a configuration, and those of its file of users, which replace others of the same
/// name.
pub(crate) fn read_users(config: &Config, table: &CommandTable) -> Result<Users, UsersFileError> {
    let mut users = Users::new(&config.server)?;
    let Some(path) = &config.server.acl_file else {
        return Ok(users);
    };
    let path = config.below_dir(path);
    if !path.exists() {
        // `ACL SAVE` makes it.
        return Ok(users);
    }
    let failed = |source| UsersFileError::File {
        path: path.clone(),
        action: "read",
        source,
    };
    if path.metadata().map_err(failed)?.len() > BYTES_MAX {
        return Err(failed(io::Error::other("it is larger than 16 MiB")));
    }
    let text = std::fs::read_to_string(&path).map_err(failed)?;
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let user = read_line(line, table).map_err(|problem| UsersFileError::Line {
            path: path.clone(),
            line: at + 1,
            problem,
        })?;
        users.put(user);
    }
    Ok(users)
}

fn read_line(line: &str, table: &CommandTable) -> Result<User, String> {
    let mut words = line.split_ascii_whitespace();
    let (Some("user"), Some(name)) = (words.next(), words.next()) else {
        return Err("a line is `user NAME RULE …`".to_owned());
    };
    let mut user = User::powerless(name);
    for rule in words {
        // Rules with a password are not shown.
        rules::apply(&mut user, rule, table).map_err(|problem| {
            let shown = if rule.starts_with(['>', '<', '#', '!']) {
                "…"
            } else {
                rule
            };
            format!("user {name}: {shown}: {problem}")
        })?;
    }
    Ok(user)
}

/// Reads the users again, from the configuration file and the file of users.
pub(super) fn load(state: &ServerState, table: &CommandTable) -> Result<(), UsersFileError> {
    let _alone = state.live.lock_changes();
    let current = state.live.current();
    let config = match &current.file {
        Some(path) => current.with_users_of(path)?,
        None => Config::clone(&current),
    };
    let users = read_users(&config, table)?;
    state.users.replace(users);
    state.live.set(std::sync::Arc::new(config));
    Ok(())
}

/// Writes all users into the file.
pub(super) fn save(state: &ServerState) -> Result<(), UsersFileError> {
    let config = state.live.current();
    let path = config
        .server
        .acl_file
        .as_ref()
        .map(|path| config.below_dir(path))
        .ok_or(UsersFileError::NotConfigured)?;
    let mut text = String::new();
    for user in state.users.current().all() {
        text.push_str(&rules::line(user));
        text.push('\n');
    }
    write(&path, &text).map_err(|source| UsersFileError::File {
        path: path.clone(),
        action: "written",
        source,
    })
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    if !path.exists() {
        use std::os::unix::fs::OpenOptionsExt as _;
        // Nobody else reads hashes of passwords.
        std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)?;
    }
    replace_file(path, text)
}
