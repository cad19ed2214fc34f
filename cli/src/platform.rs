//! What native code is for, as commands say it.

use std::fmt;

use ferrite_cache::{Baseline, Profile, Target};
use serde::Serialize;

/// What native code is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct Platform {
    pub(crate) target: Target,
    pub(crate) baseline: Baseline,
    /// Whether the code counts how deep its calls nest.
    pub(crate) stack_depth: bool,
}

impl Platform {
    /// Of the code of a profile.
    pub(crate) fn of(profile: &Profile) -> Self {
        Self {
            target: profile.target(),
            baseline: profile.baseline(),
            stack_depth: profile.counts_stack_depth(),
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            target,
            baseline,
            stack_depth,
        } = self;
        write!(out, "{target}, {baseline}")?;
        if *stack_depth {
            out.write_str(", stack depth counted")?;
        }
        Ok(())
    }
}
