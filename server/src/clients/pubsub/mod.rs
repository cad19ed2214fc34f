//! Messages between clients: channels, and who listens to them.

pub(crate) mod channels;
pub(crate) mod keyspace_events;
pub(crate) mod mailbox;
pub(crate) mod subscriptions;
