//! Commands about the client's own connection, such as `AUTH`, `HELLO`, `CLIENT`.

pub(crate) mod auth;
pub(crate) mod client;
pub(crate) mod echo;
pub(crate) mod hello;
pub(crate) mod ping;
pub(crate) mod quit;
pub(crate) mod reset;
pub(crate) mod select;
