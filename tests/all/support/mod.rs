//! Small guests, and waits for background work.

pub(crate) mod guests;
pub(crate) mod waiting;
