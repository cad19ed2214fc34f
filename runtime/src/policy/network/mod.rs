//! Requests of functions that are trusted with the network.
//!
//! [`rule`] says which requests a function may make, [`address`] which addresses any request may go
//! to. Calls know the messages and the client; everything else stays in this room.

pub mod address;
pub(crate) mod call_requests;
pub(crate) mod client;
mod connect;
mod exchange;
pub(crate) mod message;
pub(crate) mod method;
pub mod options;
pub mod resolve;
pub mod rule;
pub(crate) mod url;
