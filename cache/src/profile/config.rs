//! The only place that makes a `wasmtime::Config`.
//!
//! Some defaults of wasmtime depend on cargo features or the environment. Therefore everything that
//! decides native code or its sandbox is set here, for compiling and for loading. A host adds only
//! how instances are allocated.

use std::num::NonZeroUsize;

use wasmtime::{
    Collector, Config, Inlining, ModuleVersionStrategy, ProfilingStrategy, WasmBacktraceDetails,
    WasmFeatures,
};

use super::Profile;
use super::engine::EngineProfile;
use super::settings::{SECURITY, Security, WASM_FEATURES};

/// Most stack of wasm code, in bytes.
const WASM_STACK_BYTES_MAX: usize = 512 << 10;

/// Stack of a call that can be suspended, in bytes: four times what wasm may use, to leave room for
/// the host functions that it calls.
const ASYNC_STACK_BYTES: usize = 2 << 20;

/// Most frames of a trap's backtrace.
const BACKTRACE_FRAMES_MAX: NonZeroUsize = NonZeroUsize::new(32).unwrap();

/// Initialised memory up to this size, in bytes, always becomes an image that is mapped copy-on-write.
/// A larger image must be at least half full.
const DENSE_IMAGE_BYTES_MAX: u64 = 16 << 20;

impl Profile {
    /// Returns the configuration of an engine that loads artifacts of this build on this machine.
    ///
    /// It does not depend on the profile's target and CPU, which wasmtime compares with the machine
    /// when it loads an artifact: one engine loads the artifacts of every candidate. The caller may
    /// add only an allocation strategy.
    #[must_use]
    pub fn config(&self) -> Config {
        let mut config = Config::new();
        #[cfg(feature = "compiler")]
        config.enable_compiler(false);
        apply(&mut config);
        config
    }
}

/// Sets everything on which compiling and loading must agree.
fn apply(config: &mut Config) {
    // Wasmtime refuses version strings above 255 bytes; ours has 24.
    config
        .module_version(ModuleVersionStrategy::Custom(
            EngineProfile::current().version(),
        ))
        .expect("the version string is short");

    config.wasm_features(WasmFeatures::all(), false);
    for &(_, feature) in WASM_FEATURES {
        config.wasm_features(feature, true);
    }
    config.relaxed_simd_deterministic(false);
    // The compiler's metering pass says which of its branches are rare.
    config.wasm_branch_hinting(true);
    config.shared_memory(false);
    config.concurrency_support(false);
    config.collector(Collector::Null);
    config.gc_heap_initial_size(0);

    // Code counts what it runs by itself; see the compiler's metering pass.
    config.consume_fuel(false);
    config.epoch_interruption(false);

    let Security {
        memory_reservation_bytes,
        memory_guard_bytes,
        guard_before_memory,
        signals_based_traps,
        // These affect only compiling.
        heap_spectre_mitigation: _,
        table_spectre_mitigation: _,
        nan_canonicalization: _,
    } = SECURITY;
    config.memory_reservation(memory_reservation_bytes);
    config.memory_guard_size(memory_guard_bytes);
    config.guard_before_linear_memory(guard_before_memory);
    // The reservation has room for the largest memory, so no memory ever moves.
    config.memory_may_move(false);
    config.memory_reservation_for_growth(0);
    config.signals_based_traps(signals_based_traps);
    config.max_wasm_stack(WASM_STACK_BYTES_MAX);
    config.async_stack_size(ASYNC_STACK_BYTES);
    // Guests cannot read a native stack, so it need not be cleared.
    config.async_stack_zeroing(false);

    config.memory_init_cow(true);
    config.memory_guaranteed_dense_image_size(DENSE_IMAGE_BYTES_MAX);
    config.force_memory_init_memfd(false);
    config.table_lazy_init(true);
    config.compiler_inlining(Inlining::No);

    // Backtraces name functions and offsets, from tables of wasmtime's own. What only a native
    // debugger would read is left out: it makes artifacts larger and their registration slower.
    config.wasm_backtrace_max_frames(Some(BACKTRACE_FRAMES_MAX));
    config.wasm_backtrace_details(WasmBacktraceDetails::Disable);
    config.generate_address_map(true);
    config.debug_info(false);
    config.debug_symbols(false);
    config.native_unwind_info(false);
    config.metadata_for_internal_asserts(false);
    config.metadata_for_gc_heap_corruption(false);
    config.profiler(ProfilingStrategy::None);
}

#[cfg(feature = "compiler")]
mod compiler {
    //! Settings for compiling only.
    #![allow(
        unsafe_code,
        reason = "wasmtime marks every Cranelift flag unsafe, CPU features included"
    )]

    use wasmtime::{Config, OptLevel, RegallocAlgorithm, Strategy};

    use super::apply;
    use crate::profile::settings::{SECURITY, Security};
    use crate::profile::{Profile, cpu};

    impl Profile {
        /// Returns the configuration of an engine that compiles for this profile's target and CPU.
        ///
        /// All other settings are this build's; [`Profile::check`] fails for a profile with others.
        /// CPU features that the target does not have are left out.
        ///
        /// # Panics
        ///
        /// Never: wasmtime knows the triples of all targets.
        #[must_use]
        pub fn compiler_config(&self) -> Config {
            let mut config = Config::new();
            config.enable_compiler(true);
            apply(&mut config);

            // With an explicit target, wasmtime does not add the features of this machine's CPU.
            config
                .target(self.target.triple())
                .expect("wasmtime knows the triples of all targets");
            config.strategy(Strategy::Cranelift);
            config.cranelift_opt_level(OptLevel::Speed);
            config.cranelift_regalloc_algorithm(RegallocAlgorithm::Backtracking);
            config.cranelift_debug_verifier(false);
            config.parallel_compilation(true);

            let Security {
                heap_spectre_mitigation,
                table_spectre_mitigation,
                nan_canonicalization,
                memory_reservation_bytes: _,
                memory_guard_bytes: _,
                guard_before_memory: _,
                signals_based_traps: _,
            } = SECURITY;
            config.cranelift_nan_canonicalization(nan_canonicalization);
            let mitigations = [
                (
                    "enable_heap_access_spectre_mitigation",
                    heap_spectre_mitigation,
                ),
                (
                    "enable_table_access_spectre_mitigation",
                    table_spectre_mitigation,
                ),
            ];
            for (flag, on) in mitigations {
                // SAFETY: the two flags only choose whether bounds checks also hold under
                // speculation; code is within its bounds with either value.
                unsafe { config.cranelift_flag_set(flag, if on { "true" } else { "false" }) };
            }
            let known = cpu::flags(self.target);
            for flag in known {
                if self.cpu_features.iter().any(|feature| feature == flag) {
                    // SAFETY: the tables of `cpu` hold nothing but flags for CPU features.
                    // Wasmtime writes those into the artifact and refuses to load it where the
                    // CPU lacks one.
                    unsafe { config.cranelift_flag_enable(flag) };
                }
            }
            config
        }
    }
}
