//! What a function may do to the data: read from JSON, compiled once, asked at one door.

mod access_check;
mod denied;
mod host_access;

use serde::{Deserialize, Serialize};

pub use access_check::AccessPolicy;
pub use denied::{Denied, Rule};
pub use host_access::Access;

use crate::error::Quoted;
use crate::policy::strict_json::{self, JsonError};
use ferrite_protocol::glob::GlobError;

/// The permissions of a function as they are written: `PERMISSIONS '{"allow_write": true}'`.
///
/// A field that is not given has the value of [`Permissions::default`], which reads every key and
/// writes none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Permissions {
    /// Globs; the function may touch a key that matches one of them.
    pub allowed_keys: Vec<String>,
    /// Globs; the function may not touch a key that matches one of them, whatever else says so.
    pub denied_keys: Vec<String>,
    /// Names of the commands that the function may run, or all when it is not given. The host
    /// functions count as the commands they stand for: `get` as `GET`, `incr_by` as `INCRBY`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowed_commands: Option<Vec<String>>,
    /// Whether the function may write.
    pub allow_write: bool,
    /// Whether the function may use the network. Nothing implements it, so `true` is refused.
    pub allow_network: bool,
}

impl Default for Permissions {
    fn default() -> Self {
        Self {
            allowed_keys: vec!["*".to_owned()],
            denied_keys: Vec::new(),
            allowed_commands: None,
            allow_write: false,
            allow_network: false,
        }
    }
}

impl Permissions {
    /// Names that stand for whole sets of permissions, as the configuration uses them.
    pub const NAMES: [&'static str; 3] = ["read-only", "read-write", "none"];

    /// The permissions that one of [`Permissions::NAMES`] stands for.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "read-only" => Some(Self::default()),
            "read-write" => Some(Self {
                allow_write: true,
                ..Self::default()
            }),
            "none" => Some(Self {
                allowed_keys: Vec::new(),
                allowed_commands: Some(Vec::new()),
                ..Self::default()
            }),
            _ => None,
        }
    }

    /// Reads the JSON of a `PERMISSIONS` option. What it means is checked by [`AccessPolicy::new`].
    pub fn from_json(text: &[u8]) -> Result<Self, PermissionsError> {
        strict_json::read(text).map_err(PermissionsError::Json)
    }

    /// The same as JSON, every field written out.
    #[must_use]
    pub fn to_json(&self) -> String {
        // Strings and booleans can always be written.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// Why permissions are refused at load.
#[derive(Debug, thiserror::Error)]
pub enum PermissionsError {
    /// The text is not what it must be.
    #[error("permissions: {0}")]
    Json(JsonError),
    /// A pattern is doubtful.
    #[error("permissions: pattern {} in {field}: {problem}", Quoted(.pattern.as_bytes()))]
    Glob {
        /// Which list it stands in.
        field: &'static str,
        /// The pattern.
        pattern: Box<str>,
        /// What is wrong with it.
        problem: GlobError,
    },
    /// A command that the host does not have.
    #[error(
        "permissions: unknown command {} in allowed_commands; COMMAND LIST shows those there are",
        Quoted(.name.as_bytes())
    )]
    UnknownCommand {
        /// The command.
        name: Box<str>,
    },
    /// More patterns or commands than [`AccessPolicy::ITEMS_MAX`].
    #[error(
        "permissions: {field} has {count} items, the limit is {}",
        AccessPolicy::ITEMS_MAX
    )]
    TooMany {
        /// Which list.
        field: &'static str,
        /// How many it has.
        count: usize,
    },
    /// `allow_network: true`.
    #[error(
        "permissions: allow_network cannot be granted: functions have no network; leave it out"
    )]
    Network,
}

#[cfg(test)]
mod tests;
