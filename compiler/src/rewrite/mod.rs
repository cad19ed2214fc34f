//! The rewriting pass: what a module needs so that the host can rewind its instances.
//!
//! A rewound instance looks to every call as if it had just been made. The host restores the
//! memory's pages and the mutable globals itself; for that, the pass
//!
//! - exports the memory and the mutable globals under reserved names;
//! - makes `memory.grow` virtual within some pages of headroom that exist from the start, so that
//!   an allocator's usual growth needs no system call and can be undone;
//! - exports the start function instead of naming it as one, so that the host runs it once and not
//!   for every instance that takes over what it left behind;
//! - appends an empty data segment where there are others, at an offset that is computed: wasmtime
//!   makes of plain segments an image that only memories of its own can map.
//!
//! The pass decides per module and says why not where it refuses: `decide` reads the module,
//! `splice` writes the other one. It copies every byte that it need not change, so function names
//! and indices stay, and code offsets move only where `RewindPlan::offsets` says.

mod apply;
mod grow;
mod plan;

use std::borrow::Cow;

use ferrite_cache::Rewind;
use wasmparser::Error;

pub use plan::RESERVED_PREFIX;

/// A module that the pass has gone over.
#[derive(Clone, Debug)]
pub struct Rewritten<'a> {
    /// The module to compile: the source itself where nothing had to change.
    pub wasm: Cow<'a, [u8]>,
    /// Whether instances of it may be rewound, and if not, why.
    pub rewind: Rewind,
}

/// Rewrites a valid module, or leaves it alone and says why it cannot be rewound.
///
/// # Errors
///
/// None for a module that was validated; a module that was not may be refused.
pub fn rewrite(wasm: &[u8]) -> Result<Rewritten<'_>, Error> {
    match plan::plan(wasm)? {
        plan::Decision::Refuse(reason) => Ok(Rewritten {
            wasm: Cow::Borrowed(wasm),
            rewind: Rewind::Refused { reason },
        }),
        plan::Decision::Allow(plan) => apply::apply(wasm, &plan),
    }
}
