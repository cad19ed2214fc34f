//! The targets that this build's Cranelift can compile for.

use cranelift_codegen::isa::{self, LookupError, OwnedTargetIsa};
use cranelift_codegen::settings::{self, Configurable, SetError};
use ferrite_cache::{Baseline, Profile, Target};
use thiserror::Error;

/// A target and its CPU baselines.
#[derive(Clone, Debug)]
pub struct TargetInfo {
    /// The target.
    pub target: Target,
    /// True if it is this machine's target.
    pub host: bool,
    /// Width of a pointer, in bits.
    pub pointer_bits: u8,
    /// Baselines of the target, best first.
    pub baselines: Vec<BaselineInfo>,
}

/// A CPU baseline of a target.
#[derive(Clone, Debug)]
pub struct BaselineInfo {
    /// The baseline.
    pub baseline: Baseline,
    /// The profile for target and baseline.
    pub profile: Profile,
    /// True if this machine can run the code.
    pub runs_here: bool,
}

/// This build cannot compile for a profile.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TargetError {
    /// There is no backend for the target.
    #[error("this build cannot compile for {target}")]
    Backend {
        /// The target.
        target: Target,
        /// The error of Cranelift.
        #[source]
        source: LookupError,
    },
    /// The backend does not know a CPU feature.
    #[error("the backend for {target} does not know the CPU feature `{feature}`")]
    Feature {
        /// The target.
        target: Target,
        /// Cranelift's name of the feature.
        feature: String,
        /// The error of Cranelift.
        #[source]
        source: SetError,
    },
    /// The backend refuses the combination of settings.
    #[error("the backend for {target} refuses its settings: {message}")]
    Settings {
        /// The target.
        target: Target,
        /// The error of Cranelift.
        message: String,
    },
}

/// Lists the targets and baselines that this build can compile for, after checking their CPU
/// features with the backend.
///
/// # Errors
///
/// This build's Cranelift lacks a target or a CPU feature of a baseline.
pub fn targets() -> Result<Vec<TargetInfo>, TargetError> {
    let runnable = Profile::candidates();
    Target::ALL
        .into_iter()
        .map(|target| {
            let host = target == Target::host();
            let mut pointer_bits = 0;
            let mut baselines = Vec::new();
            for baseline in Baseline::ALL {
                // Skip baselines of other targets, and native on another machine.
                let Ok(profile) = Profile::new(target, baseline) else {
                    continue;
                };
                pointer_bits = backend(&profile)?.pointer_bits();
                baselines.push(BaselineInfo {
                    baseline,
                    runs_here: runnable.contains(&profile),
                    profile,
                });
            }
            Ok(TargetInfo {
                target,
                host,
                pointer_bits,
                baselines,
            })
        })
        .collect()
}

/// Checks that this build's Cranelift has the profile's target and knows its CPU features.
pub(crate) fn check(profile: &Profile) -> Result<(), TargetError> {
    backend(profile).map(drop)
}

/// Returns the backend for a profile.
fn backend(profile: &Profile) -> Result<OwnedTargetIsa, TargetError> {
    let target = profile.target();
    let mut builder = isa::lookup_by_name(target.triple())
        .map_err(|source| TargetError::Backend { target, source })?;
    for feature in profile.cpu_features() {
        builder
            .enable(feature)
            .map_err(|source| TargetError::Feature {
                target,
                feature: feature.clone(),
                source,
            })?;
    }
    let flags = settings::Flags::new(settings::builder());
    builder
        .finish(flags)
        .map_err(|error| TargetError::Settings {
            target,
            message: error.to_string(),
        })
}

#[cfg(test)]
mod tests {
    use super::targets;
    use ferrite_cache::{Baseline, Target};

    #[test]
    fn every_target_and_baseline_is_one_that_cranelift_knows() {
        let targets = targets().expect("all are known");
        assert_eq!(targets.len(), Target::ALL.len());
        for info in &targets {
            assert_eq!(info.pointer_bits, 64);
            let named: Vec<Baseline> = info.baselines.iter().map(|info| info.baseline).collect();
            for baseline in info.target.baselines() {
                assert!(named.contains(baseline), "{} {baseline}", info.target);
            }
            assert_eq!(named.contains(&Baseline::Native), info.host);
        }
    }

    #[test]
    fn this_machine_runs_native_code_and_none_of_another_target() {
        for info in targets().expect("all are known") {
            for baseline in info.baselines {
                assert!(info.host || !baseline.runs_here);
                assert!(baseline.baseline != Baseline::Native || baseline.runs_here);
            }
        }
    }
}
