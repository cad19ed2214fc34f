//! The part of a profile that does not depend on target and CPU.

use std::fmt;

use ferrite_wasm_abi::ABI_VERSION;
use serde::{Deserialize, Serialize};

use super::error::ProfileError;
use super::fingerprint::FingerprintHasher;
use super::settings::{METERING, Metering, SECURITY, Security, WASM_FEATURES};
use super::version::wasmtime_version;
use crate::rewind::REWRITING_VERSION;

/// The properties that an engine needs to load the code, on any CPU.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EngineProfile {
    /// Version of the guest ABI.
    pub abi: u32,
    /// Full version of wasmtime, such as `48.0.8`.
    pub wasmtime: String,
    /// Version of the rewriting before compilation.
    pub rewriting: u32,
    /// Metering of the code.
    pub metering: Metering,
    /// WebAssembly features that modules may use, sorted.
    pub wasm_features: Vec<String>,
    /// Settings that keep the code inside its sandbox.
    pub security: Security,
}

impl EngineProfile {
    /// Returns the properties of this build.
    pub(super) fn current() -> Self {
        Self {
            abi: ABI_VERSION,
            wasmtime: wasmtime_version().to_owned(),
            rewriting: REWRITING_VERSION,
            metering: METERING,
            wasm_features: WASM_FEATURES
                .iter()
                .map(|&(name, _)| name.to_owned())
                .collect(),
            security: SECURITY,
        }
    }

    /// Returns the first difference from this build as an error.
    pub(super) fn check(&self) -> Result<(), ProfileError> {
        let current = Self::current();
        if self.abi != current.abi {
            return Err(ProfileError::Abi {
                found: self.abi,
                expected: current.abi,
            });
        }
        if self.wasmtime != current.wasmtime {
            return Err(ProfileError::Wasmtime {
                found: self.wasmtime.clone(),
                expected: current.wasmtime,
            });
        }
        if *self != current {
            return Err(ProfileError::Engine {
                found: self.settings(),
                expected: current.settings(),
            });
        }
        Ok(())
    }

    pub(super) fn encode(&self, hasher: &mut FingerprintHasher) {
        let Self {
            abi,
            wasmtime,
            rewriting,
            metering: Metering { pass },
            wasm_features,
            security:
                Security {
                    memory_reservation_bytes,
                    memory_guard_bytes,
                    guard_before_memory,
                    heap_spectre_mitigation,
                    table_spectre_mitigation,
                    nan_canonicalization,
                    signals_based_traps,
                },
        } = self;
        hasher.number("abi", u64::from(*abi));
        hasher.text("wasmtime", wasmtime);
        hasher.number("rewriting", u64::from(*rewriting));
        hasher.number("metering", u64::from(*pass));
        hasher.texts("wasm", wasm_features);
        hasher.number("memory reservation", *memory_reservation_bytes);
        hasher.number("memory guard", *memory_guard_bytes);
        hasher.number("guard before memory", u64::from(*guard_before_memory));
        hasher.number("heap spectre", u64::from(*heap_spectre_mitigation));
        hasher.number("table spectre", u64::from(*table_spectre_mitigation));
        hasher.number("nan canonicalization", u64::from(*nan_canonicalization));
        hasher.number("signals", u64::from(*signals_based_traps));
    }

    /// Returns the version string that is stored in artifacts; wasmtime allows at most 255 bytes.
    pub(super) fn version(&self) -> String {
        let mut hasher = FingerprintHasher::new("ferrite engine 3");
        self.encode(&mut hasher);
        format!("ferrite-{}", hasher.finish())
    }

    fn settings(&self) -> String {
        let Self {
            abi: _,
            wasmtime: _,
            rewriting,
            metering: Metering { pass },
            wasm_features,
            security:
                Security {
                    memory_reservation_bytes,
                    memory_guard_bytes,
                    guard_before_memory,
                    heap_spectre_mitigation,
                    table_spectre_mitigation,
                    nan_canonicalization,
                    signals_based_traps,
                },
        } = self;
        let on = |setting: bool| if setting { "on" } else { "off" };
        format!(
            "rewriting {rewriting}, metering {pass}, spectre mitigations {} (memory) and {} (tables), {} MiB reserved \
             with guards of {} MiB behind{}, NaN canonicalization {}, traps by {}, wasm features {}",
            on(*heap_spectre_mitigation),
            on(*table_spectre_mitigation),
            memory_reservation_bytes >> 20,
            memory_guard_bytes >> 20,
            if *guard_before_memory {
                " and before"
            } else {
                ""
            },
            on(*nan_canonicalization),
            if *signals_based_traps {
                "signals"
            } else {
                "checks"
            },
            wasm_features.join(" "),
        )
    }
}

impl fmt::Display for EngineProfile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let current = Self::current();
        write!(f, "wasmtime {}, guest ABI {}", self.wasmtime, self.abi)?;
        if self.rewriting != current.rewriting
            || self.metering != current.metering
            || self.wasm_features != current.wasm_features
            || self.security != current.security
        {
            write!(f, ", {}", self.settings())?;
        }
        Ok(())
    }
}
