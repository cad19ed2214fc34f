//! Connected clients, their sessions, and the users they authenticate as.

pub(crate) mod caller;
pub(crate) mod pubsub;
pub(crate) mod queued_requests;
pub(crate) mod registry;
pub(crate) mod rules;
pub(crate) mod session;
pub(crate) mod users;
