//! Transactions of a client: `MULTI`, `EXEC`, `DISCARD`, `WATCH`, `UNWATCH`.

pub(crate) mod discard;
pub(crate) mod exec;
pub(crate) mod multi;
pub(crate) mod unwatch;
pub(crate) mod watch;
