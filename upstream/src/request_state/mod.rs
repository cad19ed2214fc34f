//! Where the engine keeps requests that calls have committed, and what this server knows of its part in sending them.

pub(crate) mod lease;
pub(crate) mod place;
pub(crate) mod turns;
