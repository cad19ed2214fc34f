//! Flattens a component into one core module.
//!
//! The runtime knows core modules alone. A component whose core modules share one memory is one core
//! module already, in several pieces: this step links the pieces, puts the adapter in the place of
//! what the component imports, and exports an entry for each function that the component exports.
//! Everything after it (validation, rewinding, metering) sees a module like any other.
//!
//! 1. `component` reads the definitions; 2. `resolve` runs them, as instantiating the component would;
//! 3. `entries` finds the entries; 4. `link` writes the module.
//!
//! A component that cannot become one module is refused: several memories, composed components, asynchronous
//! functions, resources that the component defines.

mod adapter;
mod component;
mod entries;
mod error;
mod link;
mod module;
mod output;
mod renumber;
mod resolve;
mod typed;
mod types;

use std::borrow::Cow;
use std::rc::Rc;

use crate::limits::SourceLimits;
use crate::validate;

pub use error::FlattenError;

/// First bytes of every component.
const MAGIC: &[u8; 8] = b"\0asm\x0d\0\x01\0";

/// Returns true if these are the bytes of a component.
#[must_use]
pub fn is_component(source: &[u8]) -> bool {
    source.starts_with(MAGIC)
}

/// Flattens a component; returns any other input unchanged.
///
/// # Errors
///
/// The component is not valid, exceeds `bounds`, or cannot become one module.
pub fn flatten<'a>(source: &'a [u8], bounds: &SourceLimits) -> Result<Cow<'a, [u8]>, FlattenError> {
    if !is_component(source) {
        return Ok(Cow::Borrowed(source));
    }
    let max = bounds.source_bytes_max;
    if source.len() as u64 > max {
        return Err(FlattenError::LimitExceeded {
            what: "bytes of the component",
            bound: "source_bytes_max",
            found: source.len() as u64,
            max,
        });
    }
    let component = Rc::new(component::read(source, validate::enabled_features())?);
    let resolved = resolve::resolve(Rc::clone(&component))?;
    let entries = entries::find(&component, &resolved)?;
    link::link(&resolved, &entries, max).map(Cow::Owned)
}
