//! Small guests, programs beside a test, and waits for background work.

pub(crate) mod guests;
pub(crate) mod running;
pub(crate) mod waiting;
