//! Signs that files of the store were damaged, beside the engine's own checksums.

pub(super) mod chain;
pub(super) mod mark;
pub(super) mod seal;
