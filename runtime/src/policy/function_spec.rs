//! The spec of a function: its name, permissions, limits and isolation.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::policy::files::directory::Directory;
use crate::policy::files::kept::KeptFiles;
use crate::policy::function_config::FunctionConfig;
use crate::policy::limits::Limits;
use crate::policy::permissions::{AccessPolicy, Permissions};
use crate::scheduling::pool::PoolOptions;

/// Everything that a function is loaded with, except its code.
#[derive(Clone, Debug)]
pub struct FunctionSpec {
    /// Name by which it is called.
    pub name: Box<str>,
    /// True if the registry finds it by that name. Requests after a commit are sent by what the registry then
    /// says of their function, so others cannot add any.
    pub registered: bool,
    /// Description by its owner.
    pub description: Option<Box<str>>,
    /// Permissions as they were written.
    pub permissions: Permissions,
    /// The compiled permissions.
    pub access_policy: AccessPolicy,
    /// The directories that it may use.
    pub directories: Arc<[Directory]>,
    /// Those of them that are in memory and stay for later calls, if there are such. Without it, they
    /// begin empty in each call.
    pub kept: Option<Arc<KeptFiles>>,
    /// Limits, lowered to the server's own.
    pub limits: Limits,
    /// Isolation of its calls from each other.
    pub isolation: Isolation,
    /// Its own configuration.
    pub config: FunctionConfig,
    /// Size of its pool.
    pub pool: PoolOptions,
}

/// Isolation of the calls of one function from each other. Functions never see each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Isolation {
    /// As strong as fresh, by putting a used instance back to its first state. Falls back to fresh if
    /// the module does not allow it.
    #[default]
    Rewind,
    /// Each call has a new instance; no byte survives.
    Fresh,
    /// An instance serves many calls in turn and keeps its memory between them.
    Reuse,
}

impl Isolation {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Rewind, Self::Fresh, Self::Reuse];

    /// Returns the name of the kind.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fresh => "fresh",
            Self::Reuse => "reuse",
            Self::Rewind => "rewind",
        }
    }
}

impl fmt::Display for Isolation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

/// The error of a word that names no isolation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown isolation {}; it is one of rewind, fresh, reuse", crate::error::Quoted(.0.as_bytes()))]
pub struct UnknownIsolation(Box<str>);

impl FromStr for Isolation {
    type Err = UnknownIsolation;

    fn from_str(text: &str) -> Result<Self, UnknownIsolation> {
        Self::ALL
            .into_iter()
            .find(|isolation| isolation.as_str().eq_ignore_ascii_case(text))
            .ok_or_else(|| UnknownIsolation(text.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::Isolation;

    #[test]
    fn isolation_is_read_in_any_case() {
        for isolation in Isolation::ALL {
            assert_eq!(isolation.to_string().to_uppercase().parse(), Ok(isolation));
        }
        let error = "new".parse::<Isolation>().expect_err("not a kind");
        assert!(error.to_string().contains("\"new\""));
    }
}
