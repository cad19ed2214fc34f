//! Platforms and the minimum features of their CPUs.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A platform that artifacts are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Target {
    /// Linux on x86-64.
    #[serde(rename = "x86_64-unknown-linux-gnu")]
    X86_64Linux,
    /// Linux on 64-bit Arm.
    #[serde(rename = "aarch64-unknown-linux-gnu")]
    Aarch64Linux,
    /// macOS on 64-bit Arm, for the command line. No server runs there.
    #[serde(rename = "aarch64-apple-darwin")]
    Aarch64MacOs,
}

impl Target {
    /// Every target there is.
    pub const ALL: [Self; 3] = [Self::X86_64Linux, Self::Aarch64Linux, Self::Aarch64MacOs];

    /// The targets that servers run on.
    pub const SERVERS: [Self; 2] = [Self::X86_64Linux, Self::Aarch64Linux];

    /// Returns the platform of this program.
    #[must_use]
    pub const fn host() -> Self {
        if cfg!(target_os = "macos") {
            Self::Aarch64MacOs
        } else if cfg!(target_arch = "x86_64") {
            Self::X86_64Linux
        } else {
            Self::Aarch64Linux
        }
    }

    /// Returns the portable baselines of this target, best first.
    #[must_use]
    pub const fn baselines(self) -> &'static [Baseline] {
        match self {
            Self::X86_64Linux => &[Baseline::V3, Baseline::V2],
            Self::Aarch64Linux | Self::Aarch64MacOs => &[Baseline::Generic],
        }
    }

    /// Returns the target's short name: its architecture, if servers run on it.
    #[must_use]
    pub const fn short(self) -> &'static str {
        match self {
            Self::X86_64Linux => "x86_64",
            Self::Aarch64Linux => "aarch64",
            Self::Aarch64MacOs => "aarch64-macos",
        }
    }

    /// Returns the target triple.
    #[must_use]
    pub const fn triple(self) -> &'static str {
        match self {
            Self::X86_64Linux => "x86_64-unknown-linux-gnu",
            Self::Aarch64Linux => "aarch64-unknown-linux-gnu",
            Self::Aarch64MacOs => "aarch64-apple-darwin",
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.triple())
    }
}

impl FromStr for Target {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|target| text == target.triple() || text == target.short())
            .ok_or_else(|| UnknownName {
                what: "target",
                name: text.to_owned(),
                choices: "x86_64-unknown-linux-gnu, aarch64-unknown-linux-gnu and aarch64-apple-darwin, in short x86_64, aarch64 and aarch64-macos",
            })
    }
}

/// The CPU features that an artifact needs at least.
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
    /// All features of the machine that compiles.
    #[serde(rename = "native")]
    Native,
}

impl Baseline {
    /// Every baseline there is.
    pub const ALL: [Self; 4] = [Self::V2, Self::V3, Self::Generic, Self::Native];

    /// Returns the name that the command line uses.
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
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|baseline| baseline.name() == text)
            .ok_or_else(|| UnknownName {
                what: "CPU baseline",
                name: text.to_owned(),
                choices: "x86-64-v2, x86-64-v3, generic (for aarch64) and native",
            })
    }
}

/// A name of an unknown target or baseline.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown {what} `{name}`; there are {choices}")]
pub struct UnknownName {
    what: &'static str,
    name: String,
    choices: &'static str,
}
