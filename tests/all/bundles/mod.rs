//! Signed bundles from the command line to a running server, and every reason to refuse one on the
//! way.

mod images;
mod loaded;
mod minisign;
mod refused;
mod registry;
mod released;
mod stored;
mod tampered;
pub(crate) mod workshop;
