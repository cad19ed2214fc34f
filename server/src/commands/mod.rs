//! The commands that the server answers itself, one file each, and the table of every command.

pub(crate) mod change_log;
pub(crate) mod command_ref;
pub(crate) mod connection;
pub(crate) mod docs;
pub(crate) mod permission;
pub(crate) mod pubsub;
pub(crate) mod replies;
pub(crate) mod server;
pub(crate) mod spec;
pub(crate) mod table;
pub(crate) mod transactions;
