//! Rewrites a module so that the host can rewind its instances.
//!
//! A rewound instance looks to every call as if it had just been made. The host restores the
//! memory's pages and the mutable globals itself; for that, the pass
//!
//! - exports the memory and the mutable globals under reserved names;
//! - exports the start function instead of declaring it, so that the host runs it once and not for
//!   every instance that starts from its result;
//! - joins the active data segments into a few large ones, the first of them with a computed offset:
//!   from plain segments, wasmtime makes an image that only memories of its own can map.
//!
//! `plan` reads the module and refuses it with a reason or plans the changes; `data` joins segments;
//! `apply` writes the new module. All other bytes are copied, so function names and indices stay, and
//! the code moves as a whole, as `RewindPlan::offsets` says.

mod apply;
pub(crate) mod data;
mod plan;

use std::borrow::Cow;

use ferrite_cache::Rewind;
use wasmparser::Error;

/// The output of the pass.
#[derive(Clone, Debug)]
pub struct Rewritten<'a> {
    /// The module to compile: the source itself where nothing had to change.
    pub wasm: Cow<'a, [u8]>,
    /// The decision if instances may be rewound.
    pub rewind: Rewind,
}

/// Rewrites a valid module, or returns it unchanged with the reason why it cannot be rewound.
///
/// # Errors
///
/// The module is not valid.
pub fn rewrite(wasm: &[u8]) -> Result<Rewritten<'_>, Error> {
    match plan::plan(wasm)? {
        plan::Decision::Refuse(reason) => Ok(Rewritten {
            wasm: Cow::Borrowed(wasm),
            rewind: Rewind::Refused { reason },
        }),
        plan::Decision::Allow(plan) => apply::apply(wasm, &plan),
    }
}

/// Joins the data segments of a valid module and changes nothing else. A module that cannot be rewound stays as it is.
///
/// # Errors
///
/// The module is not valid.
pub(crate) fn join_data(wasm: &[u8]) -> Result<Cow<'_, [u8]>, Error> {
    match plan::plan(wasm)? {
        plan::Decision::Refuse(_) => Ok(Cow::Borrowed(wasm)),
        plan::Decision::Allow(plan) => apply::join_data(wasm, &plan),
    }
}
