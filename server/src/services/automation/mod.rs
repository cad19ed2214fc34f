//! Work that no client asks for: the functions of schedules and triggers, and the requests of the outbox.

pub(crate) mod engine_outbox;
pub(crate) mod outbox;
pub(crate) mod schedules;
pub(crate) mod triggers;
