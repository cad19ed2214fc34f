//! The rewriting pass: what a module needs so that the host can rewind its instances.
//!
//! A rewound instance looks to every call as if it had just been made. The host restores the
//! memory's pages and the mutable globals itself; for that, the pass exports the mutable globals
//! under reserved names, and makes `memory.grow` virtual within some pages of headroom that exist
//! from the start, so that an allocator's usual growth needs no system call and can be undone.
//!
//! The pass decides per module and says why not where it refuses: `decide` reads the module,
//! `splice` writes the other one. It copies every byte that it need not change, so function names
//! and indices stay, and code offsets move only where `RewindPlan::offsets` says.

mod decide;
mod grow;
mod splice;

use ferrite_cache::Rewind;
use wasmparser::Error;

pub use decide::RESERVED_PREFIX;

/// A module that the pass has gone over.
#[derive(Clone, Debug)]
pub struct Rewritten {
    /// The module to compile: the source itself where nothing had to change.
    pub wasm: Vec<u8>,
    /// Whether instances of it may be rewound, and if not, why.
    pub rewind: Rewind,
}

/// Rewrites a valid module, or leaves it alone and says why it cannot be rewound.
///
/// # Errors
///
/// None for a module that was validated; a module that was not may be refused.
pub fn rewrite(wasm: &[u8]) -> Result<Rewritten, Error> {
    match decide::decide(wasm)? {
        decide::Decision::Refuse(reason) => Ok(Rewritten {
            wasm: wasm.to_vec(),
            rewind: Rewind::Refused { reason },
        }),
        decide::Decision::Allow(plan) => splice::splice(wasm, &plan),
    }
}
