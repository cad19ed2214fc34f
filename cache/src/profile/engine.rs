//! The part of a profile that the code's engine must share, whatever the CPU.

use std::fmt;

use ferrite_wasm_abi::ABI_VERSION;
use serde::{Deserialize, Serialize};

use super::error::ProfileError;
use super::fingerprint::Canonical;
use super::settings::{METERING, Metering, SECURITY, Security, WASM_FEATURES};
use super::version::wasmtime_version;
use crate::rewind::REWRITING_VERSION;

/// What an engine must be like to load the code, whatever the CPU.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EngineProfile {
    /// Version of the guest ABI.
    pub abi: u32,
    /// Full version of wasmtime, such as `48.0.8`.
    pub wasmtime: String,
    /// Version of the rewriting that modules go through before they are compiled.
    pub rewriting: u32,
    /// How the code counts what it does.
    pub metering: Metering,
    /// WebAssembly features that modules may use, sorted.
    pub wasm_features: Vec<String>,
    /// What keeps the code inside its sandbox.
    pub security: Security,
}

impl EngineProfile {
    /// What this build compiles for and loads.
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

    /// The first difference from what this build does, as an error.
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

    pub(super) fn encode(&self, canonical: &mut Canonical) {
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
        canonical.number("abi", u64::from(*abi));
        canonical.text("wasmtime", wasmtime);
        canonical.number("rewriting", u64::from(*rewriting));
        canonical.number("metering", u64::from(*pass));
        canonical.texts("wasm", wasm_features);
        canonical.number("memory reservation", *memory_reservation_bytes);
        canonical.number("memory guard", *memory_guard_bytes);
        canonical.number("guard before memory", u64::from(*guard_before_memory));
        canonical.number("heap spectre", u64::from(*heap_spectre_mitigation));
        canonical.number("table spectre", u64::from(*table_spectre_mitigation));
        canonical.number("nan canonicalization", u64::from(*nan_canonicalization));
        canonical.number("signals", u64::from(*signals_based_traps));
    }

    /// The version string that artifacts carry inside; wasmtime takes at most 255 bytes.
    pub(super) fn version(&self) -> String {
        let mut canonical = Canonical::new("ferrite engine 3");
        self.encode(&mut canonical);
        format!("ferrite-{}", canonical.finish())
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
