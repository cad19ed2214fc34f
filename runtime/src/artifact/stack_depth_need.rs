//! Whether a function needs code that counts how deep its calls nest.

use ferrite_cache::VerifiedArtifact;

use crate::error::{CallError, Code};
use crate::policy::limits::Limits;

/// Whether a function needs code that counts how deep its calls nest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Depth {
    /// It has a `max_stack_depth`, which only such code can keep.
    Counted,
    /// It has none. Code that counts serves it where there is no other.
    Free,
}

impl Depth {
    /// What a function with these limits needs.
    #[must_use]
    pub(crate) const fn of(limits: &Limits) -> Self {
        match limits.stack_depth_max {
            Some(_) => Self::Counted,
            None => Self::Free,
        }
    }

    /// Whether an artifact is what is needed.
    #[must_use]
    pub(crate) fn suits(self, artifact: &VerifiedArtifact) -> bool {
        match self {
            Self::Counted => artifact.manifest().module.stack_depth.is_some(),
            Self::Free => true,
        }
    }

    /// Says how such code is made, in the error of a function that there is none for.
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
