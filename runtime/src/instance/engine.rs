//! The engine that runs artifacts: without a compiler, with space reserved for its instances.

use std::sync::Arc;

use ferrite_cache::{Profile, Security};
use wasmtime::{Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

use crate::rewind::arena::{Arena, ArenaMemories, ArenaOptions};

/// Tables that one module may define.
pub const TABLES_PER_MODULE_MAX: u32 = 4;

/// Tables that metering adds to every module.
const METER_TABLES: u32 = 1;

/// Bytes of a used linear memory that are reset by hand when a fresh instance is dropped, rather
/// than given back to the kernel and faulted in again by the next call.
///
/// If the kernel reports the written pages (Linux 6.7, `PAGEMAP_SCAN`), those count; else the first
/// ones do. Measured with one call after the other, a guest that writes three pages around 1 MiB,
/// as compiled Rust does: 15 µs without the scan, 5 µs with it; one that writes its first page: 8
/// µs when nothing is kept, 4 µs with this much.
const MEMORY_KEEP_RESIDENT_BYTES: usize = 64 << 10;

/// The same for tables, which are small and used from their start.
const TABLE_KEEP_RESIDENT_BYTES: usize = 8 << 10;

/// Address space that the engine reserves. It takes no memory until it is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EngineOptions {
    /// Instances of all functions together that may exist at once, idle ones included. Each has
    /// room for one linear memory (4 GiB of address space and its guards) and one stack.
    pub instances_max: u32,
    /// The largest linear memory that any function may have, in bytes; at most 4 GiB.
    pub memory_bytes_max: u64,
    /// The most elements that a table may have.
    pub table_elements_max: usize,
    /// True to compare each rewound instance with its snapshot byte by byte, and drop it if it
    /// differs. Slow; for tests and for hosts that pay for certainty.
    pub verify_rewinding: bool,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            instances_max: 1000,
            memory_bytes_max: 1 << 30,
            table_elements_max: 20_000,
            verify_rewinding: false,
        }
    }
}

/// Reason why an engine does not start.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The address space could not be reserved, or the CPU lacks a feature.
    #[error(
        "the engine cannot set aside room for {instances_max} instances; lower the number of instances, or lift the limit on address space (ulimit -v)"
    )]
    Start {
        /// The requested number.
        instances_max: u32,
        /// The error of wasmtime.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Returns the bytes of the largest memory.
fn memory_bytes(memory_bytes_max: u64) -> usize {
    const LARGEST: u64 = 4 << 30;
    usize::try_from(memory_bytes_max.min(LARGEST)).unwrap_or(usize::MAX)
}

/// Makes an engine that loads the artifacts of every profile that this machine can run.
///
/// # Errors
///
/// Fails if the operating system does not give the address space.
pub fn engine(profile: &Profile, options: &EngineOptions) -> Result<Engine, EngineError> {
    let EngineOptions {
        instances_max,
        memory_bytes_max,
        table_elements_max,
        verify_rewinding: _,
    } = *options;
    let mut pooling = PoolingAllocationConfig::new();
    pooling
        .total_core_instances(instances_max)
        .total_memories(instances_max)
        .total_tables(instances_max.saturating_mul(TABLES_PER_MODULE_MAX + METER_TABLES))
        .total_stacks(instances_max)
        .total_component_instances(0)
        .total_gc_heaps(0)
        .max_memories_per_module(1)
        .max_tables_per_module(TABLES_PER_MODULE_MAX + METER_TABLES)
        .max_memory_size(memory_bytes(memory_bytes_max))
        .table_elements(table_elements_max)
        .linear_memory_keep_resident(MEMORY_KEEP_RESIDENT_BYTES)
        .table_keep_resident(TABLE_KEEP_RESIDENT_BYTES)
        .pagemap_scan(Enabled::Auto);
    let mut config = profile.config();
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pooling));
    Engine::new(&config).map_err(|source| EngineError::Start {
        instances_max,
        source: source.into_boxed_dyn_error(),
    })
}

/// Makes an engine for the same artifacts whose memories can be rewound. wasmtime's pooling
/// allocator takes no memories but its own, so this one allocates on demand; see `rewind`.
///
/// An engine must have been made before: the arena's signal handler comes in front of wasmtime's.
///
/// # Errors
///
/// Fails if the operating system does not give the address space, or has pages of another size.
pub(crate) fn rewinding_engine(
    profile: &Profile,
    options: &EngineOptions,
) -> Result<(Engine, Arc<Arena>), wasmtime::Error> {
    let Security {
        memory_reservation_bytes,
        memory_guard_bytes,
        ..
    } = profile.engine().security;
    let bytes = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    let arena = Arena::new(ArenaOptions {
        memories_max: options.instances_max as usize,
        reservation_bytes: bytes(memory_reservation_bytes),
        guard_bytes: bytes(memory_guard_bytes),
    })?;
    let mut config = profile.config();
    config.allocation_strategy(InstanceAllocationStrategy::OnDemand);
    config.with_host_memory(Arc::new(ArenaMemories(Arc::clone(&arena))));
    Ok((Engine::new(&config)?, arena))
}
