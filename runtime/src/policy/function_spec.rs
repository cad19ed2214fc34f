//! What a function is told to be when it is loaded: its name, rights, limits and isolation.

use std::fmt;
use std::str::FromStr;

use crate::policy::limits::Limits;
use crate::policy::permissions::{AccessPolicy, Permissions};
use crate::scheduling::pool::PoolOptions;

/// What a function is told to be when it is loaded; everything but its code.
#[derive(Clone, Debug)]
pub struct FunctionSpec {
    /// The name that it is called by.
    pub name: Box<str>,
    /// What it does, in its owner's words.
    pub description: Option<Box<str>>,
    /// What it may do to the data, as it was written.
    pub permissions: Permissions,
    /// The same, compiled.
    pub access_policy: AccessPolicy,
    /// What it may use, capped by the server's own limits.
    pub limits: Limits,
    /// What its calls may see of each other.
    pub isolation: Isolation,
    /// How many of its calls may run, and what is kept for them.
    pub pool: PoolOptions,
}

/// What calls of one function may see of each other. Functions never see each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Isolation {
    /// As strong as fresh, by putting a used instance back to its first state. Fresh where the
    /// module does not allow it.
    #[default]
    Rewind,
    /// Every call has an instance of its own; no byte survives.
    Fresh,
    /// An instance serves many calls in turn and keeps its memory between them.
    Reuse,
}

impl Isolation {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Rewind, Self::Fresh, Self::Reuse];

    /// The kind's name.
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

/// A word that names no kind of isolation.
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
