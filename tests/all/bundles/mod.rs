//! Signed bundles from the command line to a running server, and everything that is refused on the
//! way.

mod loaded;
mod minisign;
mod refused;
mod registry;
mod released;
mod tampered;
pub(crate) mod workshop;
