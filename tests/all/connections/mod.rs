//! The side of clients: users and passwords, frames, limits of connections, TLS, client libraries.

mod acl;
mod authentication;
mod bad_frames;
mod clients;
mod limits;
mod protocol;
mod pubsub;
mod redis_cli;
pub(crate) mod tls;
