//! `push` and `pull`: bundles in an OCI registry.

pub(crate) mod pull;
pub(crate) mod push;
