//! The embedded keyspace of a Redis-compatible server: typed values, transactions, durability.
//!
//! A [`Store`] runs plain commands straight on its data and hands out [`Transaction`]s: consistent
//! views whose writes take effect together or not at all. Both run the same implementation of each
//! command, which writes its reply through a [`ReplyWriter`].

mod api;
mod blocking;
mod commands;
mod durable;
mod error;
mod execution;
mod keyspace;
mod options;
mod transaction;
mod value;

pub use api::blocked::Blocked;
pub use api::data_command::DataCommand;
pub use api::multi::Unit;
pub use api::session::Session;
pub use api::store::{Flow, Retry, Store};
pub use api::transaction_ops::{SetCondition, SetExpiry, Ttl};
pub use commands::spec::{
    BLOCKING, CommandAccess, CommandSpec, DENYOOM, FAST, KeyAccess, Keys, MOVABLEKEYS, READONLY,
    WRITE,
};
pub use durable::{DiskOptions, Durability, OpenError, Receipt};
pub use error::StoreError;
pub use ferrite_protocol::number::format_double;
pub use ferrite_protocol::reply_writer::{Protocol, ReplyWriter};
pub use options::{Clock, Limits, StoreOptions};
pub use transaction::{CommitError, Mode, Transaction};
