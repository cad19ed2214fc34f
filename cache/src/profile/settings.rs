//! This build's settings for metering, sandbox and WebAssembly features.

use serde::{Deserialize, Serialize};
use wasmtime::WasmFeatures;

/// Metering of the code.
// Older manifests have other fields here. They can be read, and never match this build's profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Metering {
    /// Version of the compiler's pass that makes code count what it runs; 0 before there was one.
    /// Wasmtime's own fuel and epochs are off.
    #[serde(default)]
    pub pass: u32,
}

/// Settings that keep the code inside its sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Security {
    /// Address space reserved for every linear memory, in bytes.
    pub memory_reservation_bytes: u64,
    /// Inaccessible address space behind the reservation, in bytes.
    pub memory_guard_bytes: u64,
    /// True if there is a guard of the same size before it.
    pub guard_before_memory: bool,
    /// Bounds checks of linear memory hold under speculation.
    pub heap_spectre_mitigation: bool,
    /// Bounds checks of tables hold under speculation.
    pub table_spectre_mitigation: bool,
    /// Every NaN has the same bits.
    pub nan_canonicalization: bool,
    /// Faults are detected by signals instead of explicit checks.
    pub signals_based_traps: bool,
}

/// The metering of this build.
pub(super) const METERING: Metering = Metering { pass: 4 };

/// The sandbox of this build.
///
/// With 4 GiB reserved, a 32-bit index cannot leave a memory, and static offsets below the guard's
/// 32 MiB need no check either.
pub(super) const SECURITY: Security = Security {
    memory_reservation_bytes: 4 << 30,
    memory_guard_bytes: 32 << 20,
    guard_before_memory: true,
    heap_spectre_mitigation: true,
    table_spectre_mitigation: true,
    nan_canonicalization: false,
    signals_based_traps: true,
};

/// The WebAssembly features that modules may use, sorted by name; every other one is off.
///
/// Off on purpose: everything that needs a garbage collector, `externref` included; exceptions,
/// threads, 64-bit and multiple memories, relaxed SIMD, stack switching and tail calls.
pub(super) const WASM_FEATURES: &[(&str, WasmFeatures)] = &[
    ("bulk-memory", WasmFeatures::BULK_MEMORY),
    ("extended-const", WasmFeatures::EXTENDED_CONST),
    ("floats", WasmFeatures::FLOATS),
    ("multi-value", WasmFeatures::MULTI_VALUE),
    ("mutable-globals", WasmFeatures::MUTABLE_GLOBAL),
    ("reference-types", WasmFeatures::REFERENCE_TYPES),
    (
        "saturating-float-to-int",
        WasmFeatures::SATURATING_FLOAT_TO_INT,
    ),
    ("sign-extension", WasmFeatures::SIGN_EXTENSION),
    ("simd", WasmFeatures::SIMD),
];
