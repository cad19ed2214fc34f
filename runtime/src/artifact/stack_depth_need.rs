//! The need of a function for code that counts how deep its calls nest.

use ferrite_cache::VerifiedArtifact;

use crate::error::{CallError, Code};
use crate::policy::limits::Limits;

/// The need of a function for code that counts how deep its calls nest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Depth {
    /// It has a `max_stack_depth`, which only such code can enforce.
    Counted,
    /// It has none. Code that counts still serves it if there is no other.
    Free,
}

impl Depth {
    /// Returns the need of a function with these limits.
    #[must_use]
    pub(crate) const fn of(limits: &Limits) -> Self {
        match limits.stack_depth_max {
            Some(_) => Self::Counted,
            None => Self::Free,
        }
    }

    /// Returns true if an artifact meets the need.
    #[must_use]
    pub(crate) fn suits(self, artifact: &VerifiedArtifact) -> bool {
        match self {
            Self::Counted => artifact.manifest().module.stack_depth.is_some(),
            Self::Free => true,
        }
    }

    /// Adds to the error of a function without suitable code how to make such code.
    pub(crate) fn explain(self, error: CallError) -> CallError {
        if self == Self::Free || error.code() != Code::NoArtifact {
            return error;
        }
        CallError::new(
            Code::NoArtifact,
            format!(
                "{}; with max_stack_depth, which needs code that counts its calls, add --stack-depth to ferrite-wasmc compile or bundle",
                error.text()
            ),
        )
    }
}
