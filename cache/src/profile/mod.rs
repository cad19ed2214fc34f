//! The profile: everything that decides the native code of an artifact.

mod config;
mod cpu;
mod engine;
mod error;
mod fingerprint;
mod settings;
mod target;
#[cfg(test)]
mod tests;
mod version;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use engine::EngineProfile;
pub use error::ProfileError;
pub use fingerprint::{Fingerprint, FingerprintError};
pub use settings::{Metering, Security};
pub use target::{Baseline, Target, UnknownName};
pub use version::build_version;

use fingerprint::FingerprintHasher;

/// Everything that decides the native code of an artifact.
///
/// A profile that was read from a file may describe code that this build cannot make or load:
/// [`Profile::check`] finds out. [`Profile::config`] always describes this build.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    engine: EngineProfile,
    target: Target,
    baseline: Baseline,
    cpu_features: Vec<String>,
    /// True if the code counts its call depth.
    #[serde(default)]
    stack_depth: bool,
}

impl Profile {
    /// Returns this build's profile for a platform and a CPU baseline.
    ///
    /// # Errors
    ///
    /// The baseline belongs to another target, or it is `native` and the target is not the host.
    pub fn new(target: Target, baseline: Baseline) -> Result<Self, ProfileError> {
        let cpu_features = match baseline {
            Baseline::Native if target == Target::host() => cpu::detected(),
            Baseline::Native => {
                return Err(ProfileError::NativeElsewhere {
                    target,
                    host: Target::host(),
                });
            }
            _ if !target.baselines().contains(&baseline) => {
                return Err(ProfileError::ForeignBaseline { target, baseline });
            }
            _ => cpu::of_baseline(baseline),
        };
        Ok(Self::of(target, baseline, &cpu_features))
    }

    /// Returns the profile of this machine with all features of its CPU.
    #[must_use]
    pub fn native() -> Self {
        Self::of(Target::host(), Baseline::Native, &cpu::detected())
    }

    /// Returns the profiles whose artifacts this machine can run, best first, starting with native.
    #[must_use]
    pub fn candidates() -> Vec<Self> {
        let detected = cpu::detected();
        let portable = Target::host()
            .baselines()
            .iter()
            .map(|&baseline| (baseline, cpu::of_baseline(baseline)))
            .filter(|(_, flags)| flags.iter().all(|flag| detected.contains(flag)))
            .map(|(baseline, flags)| Self::of(Target::host(), baseline, &flags));
        std::iter::once(Self::native()).chain(portable).collect()
    }

    fn of(target: Target, baseline: Baseline, cpu_features: &[&str]) -> Self {
        let mut cpu_features: Vec<String> =
            cpu_features.iter().map(|&flag| flag.to_owned()).collect();
        cpu_features.sort_unstable();
        Self {
            engine: EngineProfile::current(),
            target,
            baseline,
            cpu_features,
            stack_depth: false,
        }
    }

    /// Sets if the code counts its call depth.
    #[must_use]
    pub fn with_stack_depth(mut self, counts: bool) -> Self {
        self.stack_depth = counts;
        self
    }

    /// Returns true if the code counts its call depth, as `max_stack_depth` needs.
    #[must_use]
    pub const fn counts_stack_depth(&self) -> bool {
        self.stack_depth
    }

    /// Returns the properties that an engine needs to load the code, on any CPU.
    #[must_use]
    pub const fn engine(&self) -> &EngineProfile {
        &self.engine
    }

    /// Returns the platform.
    #[must_use]
    pub const fn target(&self) -> Target {
        self.target
    }

    /// Returns the CPU baseline.
    #[must_use]
    pub const fn baseline(&self) -> Baseline {
        self.baseline
    }

    /// Returns the CPU features that the code may use, as sorted names of Cranelift flags.
    #[must_use]
    pub fn cpu_features(&self) -> &[String] {
        &self.cpu_features
    }

    /// Returns a hash over all of the profile, which names it.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        let Self {
            engine,
            target,
            baseline,
            cpu_features,
            stack_depth,
        } = self;
        let mut hasher = FingerprintHasher::new("ferrite profile 3");
        engine.encode(&mut hasher);
        hasher.text("target", target.triple());
        hasher.text("baseline", baseline.name());
        hasher.texts("cpu", cpu_features);
        hasher.number("stack depth", u64::from(*stack_depth));
        hasher.finish()
    }

    /// Returns the version that is stored in artifacts. It covers everything that wasmtime does not
    /// check itself.
    ///
    /// Target and CPU are left out, because wasmtime compares them with the machine when it loads an
    /// artifact. Therefore one engine loads the artifacts of every candidate.
    #[must_use]
    pub fn engine_version(&self) -> String {
        self.engine.version()
    }

    /// Checks that this build can compile and load code of this profile.
    ///
    /// # Errors
    ///
    /// The first difference from this build.
    pub fn check(&self) -> Result<(), ProfileError> {
        let Self {
            engine,
            target,
            baseline,
            cpu_features,
            stack_depth: _, // Every build makes and loads both kinds.
        } = self;
        engine.check()?;
        let expected = match baseline {
            // Another machine's features are fine as long as they exist: wasmtime compares them
            // with the CPU before it loads such code.
            Baseline::Native => {
                if let Some(name) = cpu_features
                    .iter()
                    .find(|name| !cpu::flags(*target).contains(&name.as_str()))
                {
                    return Err(ProfileError::UnknownCpuFeature {
                        name: name.clone(),
                        target: *target,
                    });
                }
                if cpu_features.is_sorted_by(|one, next| one < next) {
                    return Ok(());
                }
                let mut sorted: Vec<&str> = cpu_features.iter().map(String::as_str).collect();
                sorted.sort_unstable();
                sorted.dedup();
                Self::of(*target, *baseline, &sorted)
            }
            _ => Self::new(*target, *baseline)?,
        };
        if expected.cpu_features == *cpu_features {
            Ok(())
        } else {
            Err(ProfileError::CpuFeatures {
                baseline: *baseline,
                found: cpu_features.join(", "),
                expected: expected.cpu_features.join(", "),
            })
        }
    }
}

/// Describes the profile for error messages and `inspect`.
impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            engine,
            target,
            baseline,
            cpu_features,
            stack_depth,
        } = self;
        write!(f, "{target}, {baseline}")?;
        if *baseline == Baseline::Native {
            let names: Vec<&str> = cpu_features
                .iter()
                .map(|flag| flag.strip_prefix("has_").unwrap_or(flag))
                .collect();
            if names.is_empty() {
                f.write_str(" (no CPU extensions)")?;
            } else {
                write!(f, " ({})", names.join(" "))?;
            }
        }
        if *stack_depth {
            f.write_str(", stack depth counted")?;
        }
        write!(f, ", {engine}")
    }
}
