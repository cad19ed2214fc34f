//! A record that a host keeps for itself, beside the data of its clients.

/// A record of the host by its name, with its value.
pub type Record = (Box<[u8]>, Box<[u8]>);

/// Begins the names of events that wait for triggers.
pub const EVENT: &[u8] = b"event/";

/// Begins the names of events that were given up.
pub const DEAD_EVENT: &[u8] = b"dead/";

/// Begins the names of requests that wait to be sent.
pub const REQUEST: &[u8] = b"outbox/";

/// Begins the names of requests that were given up.
pub const DEAD_REQUEST: &[u8] = b"outbox-dead/";
