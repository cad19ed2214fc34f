//! Everything that decides the native code of an artifact.

mod config;
mod cpu;
mod engine;
mod fingerprint;
mod version;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub use engine::{EngineProfile, Metering, Security};
pub use fingerprint::{Fingerprint, FingerprintError};

use fingerprint::Canonical;

/// A platform that artifacts are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Target {
    /// Linux on x86-64.
    #[serde(rename = "x86_64-unknown-linux-gnu")]
    X86_64Linux,
    /// Linux on 64-bit Arm.
    #[serde(rename = "aarch64-unknown-linux-gnu")]
    Aarch64Linux,
}

impl Target {
    /// Every target there is.
    pub const ALL: [Self; 2] = [Self::X86_64Linux, Self::Aarch64Linux];

    /// The platform that this program runs on.
    #[must_use]
    pub const fn host() -> Self {
        if cfg!(target_arch = "x86_64") {
            Self::X86_64Linux
        } else {
            Self::Aarch64Linux
        }
    }

    /// The baselines that can be compiled for this target, best first; native is not among them.
    #[must_use]
    pub const fn baselines(self) -> &'static [Baseline] {
        match self {
            Self::X86_64Linux => &[Baseline::V3, Baseline::V2],
            Self::Aarch64Linux => &[Baseline::Generic],
        }
    }

    /// The target triple.
    #[must_use]
    pub const fn triple(self) -> &'static str {
        match self {
            Self::X86_64Linux => "x86_64-unknown-linux-gnu",
            Self::Aarch64Linux => "aarch64-unknown-linux-gnu",
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.triple())
    }
}

impl FromStr for Target {
    type Err = ProfileError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|target| target.triple() == text)
            .ok_or_else(|| ProfileError::UnknownTarget {
                name: text.to_owned(),
            })
    }
}

/// The least that a CPU must be able to do to run an artifact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Baseline {
    /// x86-64 level 2 of the System V ABI: SSE4.2 and POPCNT, any server since about 2009.
    #[serde(rename = "x86-64-v2")]
    V2,
    /// x86-64 level 3: AVX2, BMI and FMA, most servers since about 2013.
    #[serde(rename = "x86-64-v3")]
    V3,
    /// Any 64-bit Arm CPU.
    #[serde(rename = "generic")]
    Generic,
    /// What the machine that compiles can do.
    #[serde(rename = "native")]
    Native,
}

impl Baseline {
    /// Every baseline there is.
    pub const ALL: [Self; 4] = [Self::V2, Self::V3, Self::Generic, Self::Native];

    /// The name that the command line uses.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::V2 => "x86-64-v2",
            Self::V3 => "x86-64-v3",
            Self::Generic => "generic",
            Self::Native => "native",
        }
    }
}

impl fmt::Display for Baseline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Baseline {
    type Err = ProfileError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|baseline| baseline.name() == text)
            .ok_or_else(|| ProfileError::UnknownBaseline {
                name: text.to_owned(),
            })
    }
}

/// Everything that decides the native code of an artifact.
///
/// A profile that was read from elsewhere may describe code that this build can neither make nor
/// load; [`Profile::check`] tells. [`Profile::config`] always describes this build.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    engine: EngineProfile,
    target: Target,
    baseline: Baseline,
    cpu_features: Vec<String>,
}

impl Profile {
    /// The profile with which this build compiles for a platform and a CPU baseline.
    ///
    /// # Errors
    ///
    /// A baseline of another target, and `native` for anything but the host.
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

    /// The profile of this machine, with everything that its CPU can do.
    #[must_use]
    pub fn native() -> Self {
        Self::of(Target::host(), Baseline::Native, &cpu::detected())
    }

    /// The profiles whose artifacts this machine can run, best first; native is the first.
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
        }
    }

    /// What an engine must be like to load the code, whatever the CPU.
    #[must_use]
    pub const fn engine(&self) -> &EngineProfile {
        &self.engine
    }

    /// The platform.
    #[must_use]
    pub const fn target(&self) -> Target {
        self.target
    }

    /// The CPU baseline.
    #[must_use]
    pub const fn baseline(&self) -> Baseline {
        self.baseline
    }

    /// The CPU features that the code may use, as sorted names of Cranelift flags.
    #[must_use]
    pub fn cpu_features(&self) -> &[String] {
        &self.cpu_features
    }

    /// The name of this profile: a hash over all of it.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        let Self {
            engine,
            target,
            baseline,
            cpu_features,
        } = self;
        let mut canonical = Canonical::new("ferrite profile 1");
        engine.encode(&mut canonical);
        canonical.text("target", target.triple());
        canonical.text("baseline", baseline.name());
        canonical.texts("cpu", cpu_features);
        canonical.finish()
    }

    /// The version that artifacts carry inside: everything that wasmtime does not check itself.
    ///
    /// It leaves out target and CPU, which wasmtime compares with the machine when it loads an
    /// artifact, so that one engine loads the artifacts of every candidate.
    #[must_use]
    pub fn engine_version(&self) -> String {
        self.engine.version()
    }

    /// Whether this build compiles and loads code of this profile.
    ///
    /// # Errors
    ///
    /// The first difference from what this build would do, in words.
    pub fn check(&self) -> Result<(), ProfileError> {
        let Self {
            engine,
            target,
            baseline,
            cpu_features,
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

/// The profile in words, for error messages and `inspect`.
impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            engine,
            target,
            baseline,
            cpu_features,
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
        write!(f, ", {engine}")
    }
}

/// Why there is no such profile, or why this build has no use for it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProfileError {
    /// Not the name of a target.
    #[error(
        "unknown target `{name}`; there are x86_64-unknown-linux-gnu and aarch64-unknown-linux-gnu"
    )]
    UnknownTarget {
        /// The name.
        name: String,
    },
    /// Not the name of a baseline.
    #[error(
        "unknown CPU baseline `{name}`; there are x86-64-v2, x86-64-v3, generic (for aarch64) and native"
    )]
    UnknownBaseline {
        /// The name.
        name: String,
    },
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
    /// The code was, or is to be, made by another release of wasmtime.
    #[error(
        "the code is of wasmtime {found}, and this build has {expected}; use the same release on both sides, or compile again"
    )]
    Wasmtime {
        /// The profile's version.
        found: String,
        /// This build's version.
        expected: String,
    },
    /// The code follows another version of the guest ABI.
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
    /// A CPU feature of which this build knows nothing.
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

#[cfg(test)]
mod tests {
    use super::{Baseline, EngineProfile, Metering, Profile, ProfileError, Security, Target};

    #[test]
    fn names_round_trip() {
        for target in Target::ALL {
            assert_eq!(target.to_string().parse(), Ok(target));
        }
        for baseline in Baseline::ALL {
            assert_eq!(baseline.to_string().parse(), Ok(baseline));
        }
        assert!("x86_64-apple-darwin".parse::<Target>().is_err());
        assert!("v3".parse::<Baseline>().is_err());
    }

    #[test]
    fn every_target_has_its_baselines_and_no_other() {
        for target in Target::ALL {
            for baseline in Baseline::ALL {
                let profile = Profile::new(target, baseline);
                let belongs = match baseline {
                    Baseline::Native => target == Target::host(),
                    Baseline::V2 | Baseline::V3 => target == Target::X86_64Linux,
                    Baseline::Generic => target == Target::Aarch64Linux,
                };
                assert_eq!(profile.is_ok(), belongs, "{target} {baseline}");
                if let Ok(profile) = profile {
                    assert_eq!(profile.check(), Ok(()));
                }
            }
        }
    }

    #[test]
    fn candidates_begin_with_native_and_differ() {
        let candidates = Profile::candidates();
        assert_eq!(candidates[0], Profile::native());
        for (index, one) in candidates.iter().enumerate() {
            assert_eq!(one.target(), Target::host());
            assert_eq!(one.engine_version(), candidates[0].engine_version());
            for other in &candidates[index + 1..] {
                assert_ne!(one.fingerprint(), other.fingerprint());
            }
        }
    }

    #[test]
    fn every_field_changes_the_fingerprint() {
        let base = Profile::new(Target::X86_64Linux, Baseline::V3).expect("a pair that exists");
        let mut seen = vec![base.fingerprint()];
        let mut differs = |change: &dyn Fn(&mut Profile)| {
            let mut profile = base.clone();
            change(&mut profile);
            let fingerprint = profile.fingerprint();
            assert!(!seen.contains(&fingerprint), "{profile:?}");
            seen.push(fingerprint);
        };
        differs(&|profile| profile.target = Target::Aarch64Linux);
        differs(&|profile| profile.baseline = Baseline::V2);
        differs(&|profile| drop(profile.cpu_features.pop()));
        differs(&|profile| profile.engine.abi += 1);
        differs(&|profile| profile.engine.wasmtime.push('0'));
        differs(&|profile| profile.engine.metering.fuel = false);
        differs(&|profile| profile.engine.metering.epochs = false);
        differs(&|profile| drop(profile.engine.wasm_features.pop()));
        differs(&|profile| profile.engine.security.memory_reservation_bytes = 0);
        differs(&|profile| profile.engine.security.memory_guard_bytes = 0);
        differs(&|profile| profile.engine.security.guard_before_memory = false);
        differs(&|profile| profile.engine.security.heap_spectre_mitigation = false);
        differs(&|profile| profile.engine.security.table_spectre_mitigation = false);
        differs(&|profile| profile.engine.security.nan_canonicalization = true);
        differs(&|profile| profile.engine.security.signals_based_traps = false);
    }

    #[test]
    fn the_fingerprint_of_known_values_stays() {
        // If this fails, the canonical encoding changed and every cache out there misses: give the
        // encoding a new version and tell it in the changelog.
        let profile = Profile {
            engine: EngineProfile {
                abi: 1,
                wasmtime: String::from("48.0.8"),
                metering: Metering {
                    fuel: true,
                    epochs: true,
                },
                wasm_features: vec![String::from("bulk-memory"), String::from("simd")],
                security: Security {
                    memory_reservation_bytes: 4 << 30,
                    memory_guard_bytes: 32 << 20,
                    guard_before_memory: true,
                    heap_spectre_mitigation: true,
                    table_spectre_mitigation: true,
                    nan_canonicalization: false,
                    signals_based_traps: true,
                },
            },
            target: Target::X86_64Linux,
            baseline: Baseline::V2,
            cpu_features: vec![String::from("has_sse3"), String::from("has_ssse3")],
        };
        assert_eq!(profile.fingerprint().to_string(), "796af5d7fc5baa33");
        assert_eq!(profile.engine_version().len(), 24);
    }

    #[test]
    fn what_this_build_does_not_do_is_refused_in_words() {
        let base = Profile::new(Target::X86_64Linux, Baseline::V2).expect("a pair that exists");
        let refused = |change: &dyn Fn(&mut Profile)| {
            let mut profile = base.clone();
            change(&mut profile);
            profile.check().expect_err("this build does not do that")
        };
        assert!(matches!(
            refused(&|profile| profile.engine.wasmtime = String::from("48.0.0")),
            ProfileError::Wasmtime { .. }
        ));
        assert!(matches!(
            refused(&|profile| profile.engine.abi = 2),
            ProfileError::Abi { found: 2, .. }
        ));
        assert!(matches!(
            refused(&|profile| profile.engine.metering.fuel = false),
            ProfileError::Engine { .. }
        ));
        assert!(matches!(
            refused(&|profile| profile.cpu_features.push(String::from("has_avx2"))),
            ProfileError::CpuFeatures { .. }
        ));
        assert!(matches!(
            refused(&|profile| {
                profile.baseline = Baseline::Native;
                profile.cpu_features = vec![String::from("enable_pinned_reg")];
            }),
            ProfileError::UnknownCpuFeature { .. }
        ));
        assert!(matches!(
            refused(&|profile| {
                profile.baseline = Baseline::Native;
                profile.cpu_features.reverse();
            }),
            ProfileError::CpuFeatures { .. }
        ));
        assert!(matches!(
            refused(&|profile| profile.baseline = Baseline::Generic),
            ProfileError::ForeignBaseline { .. }
        ));
    }

    #[test]
    fn reads_back_from_json() {
        let profile = Profile::native();
        let json = serde_json::to_string(&profile).expect("a profile is plain data");
        let back: Profile = serde_json::from_str(&json).expect("it reads back");
        assert_eq!(back, profile);
        assert_eq!(back.fingerprint(), profile.fingerprint());
    }
}
