//! The guest ABI of Ferrite WASM, version 1.
//!
//! The one definition that the hosts (`runtime`, `compiler`) and the Rust SDK share: import names and
//! signatures ([`IMPORTS`], [`imports!`]), status codes ([`Status`]), option bits and log levels.
//! Everything crosses the boundary as numbers; pointers and lengths are `i32` offsets into the
//! guest's exported memory, to be read as unsigned.
#![no_std]

mod import;
mod status;
pub mod wasi;

pub use import::{ENV_PREFIX, IMPORTS, Import, MODULE, NumType, import};
pub use status::Status;

/// Version of this ABI. It is part of every compile profile, so artifacts of another ABI are not found.
pub const ABI_VERSION: u32 = 1;

/// Name of the linear memory that a guest must export before it may pass pointers.
pub const MEMORY_EXPORT: &str = "memory";

/// Name of the allocator that the buffer kind of entry needs: `alloc(size: i32) -> ptr: i32`.
pub const ALLOC_EXPORT: &str = "alloc";

/// Name of the optional counterpart of [`ALLOC_EXPORT`]: `dealloc(ptr: i32, size: i32)`.
pub const DEALLOC_EXPORT: &str = "dealloc";

/// Name of the optional initialiser, which the host runs once before the first entry.
pub const INITIALIZE_EXPORT: &str = "_initialize";

/// Name of a marker function, which is never called. An SDK exports it to ask for pre-initialisation:
/// the module's start runs once at compile time instead of in every new instance.
pub const PREINIT_EXPORT: &str = "__preinit";

/// Name of the preferred entry of a call that names none.
pub const DEFAULT_ENTRY: &str = "run";

/// Bits of `set`'s `options` parameter.
pub mod set_option {
    /// Store only if the key does not exist.
    pub const NX: i32 = 1;
    /// Store only if the key exists.
    pub const XX: i32 = 2;
    /// Keep the expiry that the key has.
    pub const KEEPTTL: i32 = 4;
    /// All defined bits; any other is `INVALID`.
    pub const ALL: i32 = NX | XX | KEEPTTL;
}

/// Values of `log`'s `level` parameter.
pub mod log_level {
    /// The finest level.
    pub const TRACE: i32 = 0;
    /// Details for debugging the function.
    pub const DEBUG: i32 = 1;
    /// Information for the operator.
    pub const INFO: i32 = 2;
    /// A possible problem.
    pub const WARN: i32 = 3;
    /// A failure.
    pub const ERROR: i32 = 4;
}

/// Results of `ttl` other than a time.
pub mod ttl {
    /// The key exists and has no expiry.
    pub const NO_EXPIRY: i64 = -1;
    /// There is no such key.
    pub const NO_KEY: i64 = -2;
}
