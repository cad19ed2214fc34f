//! The embedded keyspace of a Redis-compatible server: typed values, transactions, durability.
//!
//! A [`Store`] runs plain commands directly on its data and begins [`Transaction`]s: consistent
//! views whose writes take effect together or not at all. Both run the same implementation of each
//! command, which writes its reply through a [`ReplyWriter`]. Functions use both, by way of
//! [`Keyspace`].
//!
//! [`Keyspace`]: ferrite_protocol::keyspace::Keyspace
//! [`ReplyWriter`]: ferrite_protocol::resp::ReplyWriter

mod api;
mod blocking;
mod commands;
mod durable;
mod error;
mod events;
mod execution;
mod keyspace;
mod options;
mod rdb;
mod transaction;
mod value;

pub use api::blocked::Blocked;
pub use api::data_command::DataCommand;
pub use api::figures::StoreFigures;
pub use api::multi::Multi;
pub use api::overlay::{Held, UnknownEncoding, Words};
pub use api::session::Session;
pub use api::store::{DatabaseUsage, ExpireCycle, Flow, Retry, Store};
pub use commands::spec::{
    BLIND, BLOCKING, CommandSpec, DENYOOM, FAST, Keys, MOVABLEKEYS, READONLY, WRITE,
};
pub use durable::{
    BackupError, CloseError, DiskOptions, DiskStatus, Durability, OpenError, Receipt,
};
pub use error::StoreError;
pub use events::{EventClass, KeyEvent, Observer};
pub use execution::listing::{KeyList, Listed, Listing, Listings};
pub use options::{Clock, Limits, StoreOptions};
pub use transaction::Transaction;
pub use transaction::overlay::Missing;
