//! Errors of profiles.

use super::target::{Baseline, Target};

/// A profile does not exist, or this build cannot use it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProfileError {
    /// The baseline belongs to another target.
    #[error("{target} has no CPU baseline {baseline}; it has {}", names(target.baselines()))]
    ForeignBaseline {
        /// The target.
        target: Target,
        /// The baseline.
        baseline: Baseline,
    },
    /// `native` was asked for another platform than this one.
    #[error("baseline native means this machine, which is {host} and not {target}; name one of {}", names(target.baselines()))]
    NativeElsewhere {
        /// The target that was asked for.
        target: Target,
        /// The target of this machine.
        host: Target,
    },
    /// The profile names another release of wasmtime.
    #[error(
        "the code is of wasmtime {found}, and this build has {expected}; use the same release on both sides, or compile again"
    )]
    Wasmtime {
        /// The profile's version.
        found: String,
        /// This build's version.
        expected: String,
    },
    /// The profile names another version of the guest ABI.
    #[error(
        "the code is of guest ABI {found}, and this build has {expected}; use the same release on both sides, or compile again"
    )]
    Abi {
        /// The profile's version.
        found: u32,
        /// This build's version.
        expected: u32,
    },
    /// Metering, WebAssembly features or security settings differ.
    #[error(
        "the code has {found}, and this build has {expected}; use the same release on both sides, or compile again"
    )]
    Engine {
        /// The profile's settings.
        found: String,
        /// This build's settings.
        expected: String,
    },
    /// This build does not know the CPU feature.
    #[error("{target} has no CPU feature `{name}` that this build knows of")]
    UnknownCpuFeature {
        /// Name of the feature.
        name: String,
        /// The target.
        target: Target,
    },
    /// The CPU features are not those of the baseline, or not sorted.
    #[error("baseline {baseline} has the CPU features {expected}, and not {found}")]
    CpuFeatures {
        /// The baseline.
        baseline: Baseline,
        /// The profile's features.
        found: String,
        /// The baseline's features.
        expected: String,
    },
}

fn names(baselines: &[Baseline]) -> String {
    let names: Vec<&str> = baselines.iter().map(|baseline| baseline.name()).collect();
    names.join(", ")
}
