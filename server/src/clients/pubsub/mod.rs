//! Output that clients get without asking: messages of channels, and the requests of others.

pub(crate) mod channels;
pub(crate) mod keyspace_events;
pub(crate) mod mailbox;
pub(crate) mod monitors;
pub(crate) mod subscriptions;
