//! The platform of native code, as commands print it.

use std::fmt;

use ferrite_cache::{Baseline, Profile, Target};
use serde::Serialize;

/// The platform that native code was compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct Platform {
    pub(crate) target: Target,
    pub(crate) baseline: Baseline,
    /// True if the code counts the depth of nested calls.
    pub(crate) stack_depth: bool,
}

impl Platform {
    /// Returns the platform of a profile.
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
