//! `push` and `pull`: uploads and downloads bundles.

pub(crate) mod pull;
pub(crate) mod push;
