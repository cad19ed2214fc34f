//! Keys of the engine for requests that calls have committed, and this server's part in sending them.

pub(crate) mod lease;
pub(crate) mod place;
pub(crate) mod turns;
