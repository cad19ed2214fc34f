//! A function's rights to the data: read from JSON, compiled once, checked in one place.

mod access_check;
mod denied;
mod directory_list;
mod host_access;
mod network_list;

use serde::{Deserialize, Serialize};

pub use access_check::AccessPolicy;
pub use denied::{Denied, Rule};
pub use host_access::Access;

use crate::error::Quoted;
use crate::policy::network::rule::RuleError;
use crate::policy::strict_json::{self, JsonError};
use ferrite_protocol::glob::GlobError;

/// The permissions of a function as they are written: `PERMISSIONS '{"allow_write": true}'`.
///
/// A missing field has its value in [`Permissions::default`], which allows to read every key and to
/// write none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Permissions {
    /// Globs of the keys that the function may access.
    pub allowed_keys: Vec<String>,
    /// Globs of the keys that the function may not access, even if `allowed_keys` has them.
    pub denied_keys: Vec<String>,
    /// Names of the commands that the function may run; all commands if it is not given. The host
    /// functions count as the commands they stand for: `get` as `GET`, `incr_by` as `INCRBY`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowed_commands: Option<Vec<String>>,
    /// True if the function may write.
    pub allow_write: bool,
    /// Rules of the requests that the function may make, as [`UrlRule`] reads them; `false` in JSON
    /// if there are none.
    ///
    /// [`UrlRule`]: crate::policy::network::rule::UrlRule
    #[serde(with = "network_list")]
    pub allow_network: Vec<String>,
    /// Names of the directories that the function may read, out of those that the operator offers.
    #[serde(with = "directory_list", skip_serializing_if = "Vec::is_empty")]
    pub allow_filesystem: Vec<String>,
}

impl Default for Permissions {
    fn default() -> Self {
        Self {
            allowed_keys: vec!["*".to_owned()],
            denied_keys: Vec::new(),
            allowed_commands: None,
            allow_write: false,
            allow_network: Vec::new(),
            allow_filesystem: Vec::new(),
        }
    }
}

/// Characters of an unknown word that its error shows.
const WORD_CHARS_SHOWN: usize = 32;

impl Permissions {
    /// Names of whole sets of permissions, as the configuration uses them.
    pub const NAMES: [&'static str; 3] = ["read-only", "read-write", "none"];

    /// Returns the permissions of that name; see [`Permissions::NAMES`].
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

    /// Returns true if the function may run a command that reads whole values of this type, by the name that
    /// `TYPE` replies. Which keys it may read is not asked.
    #[must_use]
    pub fn may_read_values(&self, type_name: &str) -> bool {
        let Some(allowed) = &self.allowed_commands else {
            return true;
        };
        let readers: &[&str] = match type_name {
            "string" => &["GET", "MGET", "GETRANGE"],
            "list" => &["LRANGE"],
            "hash" => &["HGETALL", "HSCAN"],
            "set" => &["SMEMBERS", "SSCAN"],
            "zset" => &["ZRANGE", "ZSCAN"],
            _ => &[],
        };
        let reads = |name: &String| {
            readers
                .iter()
                .any(|reader| name.eq_ignore_ascii_case(reader))
        };
        allowed.iter().any(reads)
    }

    /// Reads the JSON of a `PERMISSIONS` option. [`AccessPolicy::new`] checks what they mean. See [`AccessPolicy::new`].
    pub fn from_json(text: &[u8]) -> Result<Self, PermissionsError> {
        strict_json::read(text).map_err(PermissionsError::Json)
    }

    /// Reads the value of a `PERMISSIONS` option: JSON, or one of [`Permissions::NAMES`].
    ///
    /// # Errors
    ///
    /// Fails if it is neither.
    pub fn from_option(text: &[u8]) -> Result<Self, PermissionsError> {
        let word = str::from_utf8(text).unwrap_or_default();
        if let Some(permissions) = Self::named(word) {
            return Ok(permissions);
        }
        // An object in braces is all that the JSON can be.
        if word.starts_with(|first: char| first.is_ascii_alphabetic()) {
            return Err(PermissionsError::UnknownName(
                word.chars().take(WORD_CHARS_SHOWN).collect(),
            ));
        }
        Self::from_json(text)
    }

    /// Returns the permissions as JSON with every field.
    #[must_use]
    pub fn to_json(&self) -> String {
        // Strings and booleans can always be written.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// Reason why permissions are refused at load.
#[derive(Debug, thiserror::Error)]
pub enum PermissionsError {
    /// The JSON is wrong.
    #[error("permissions: {0}")]
    Json(JsonError),
    /// A word stands for no permissions.
    #[error(
        "permissions: \"{0}\" is none of {names}, and no JSON object such as {{\"allow_write\": true}}",
        names = Permissions::NAMES.join(", ")
    )]
    UnknownName(String),
    /// A pattern does not parse.
    #[error("permissions: pattern {} in {field}: {problem}", Quoted(.pattern.as_bytes()))]
    Glob {
        /// The list that has the pattern.
        field: &'static str,
        /// The pattern.
        pattern: Box<str>,
        /// The problem.
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
        /// The list.
        field: &'static str,
        /// Its number of items.
        count: usize,
    },
    /// A rule of `allow_network` that is none.
    #[error("permissions: rule {} in allow_network: {problem}", Quoted(.rule.as_bytes()))]
    Network {
        /// The rule.
        rule: Box<str>,
        /// The problem.
        problem: RuleError,
    },
}

#[cfg(test)]
mod tests;
