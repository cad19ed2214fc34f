//! The embedded keyspace of a Redis-compatible server: typed values, transactions, durability.
//!
//! A [`Store`] runs plain commands straight on its data and hands out [`Transaction`]s: consistent
//! views whose writes take effect together or not at all. Both run the same implementation of each
//! command, which writes its reply through a [`ReplyWriter`].

mod blob;
mod blocking;
mod commands;
mod core;
mod direct;
mod durable;
mod edit;
mod effect;
mod error;
mod extended;
mod glob;
mod hashing;
mod keyspace;
mod locked;
mod number;
mod options;
mod reply;
mod session;
mod store;
mod transaction;
mod tree;
mod unit;
mod value;
mod view;

pub use blocking::Blocked;
pub use commands::spec::{
    BLOCKING, CommandAccess, CommandSpec, DENYOOM, FAST, KeyAccess, Keys, MOVABLEKEYS, READONLY,
    WRITE,
};
pub use durable::{DiskOptions, Durability, OpenError, Receipt};
pub use error::StoreError;
pub use number::format_double;
pub use options::{Clock, Limits, StoreOptions};
pub use reply::{Protocol, ReplyWriter};
pub use session::Session;
pub use store::{Flow, Retry, Store};
pub use transaction::{CommitError, Mode, SetCondition, SetExpiry, Transaction, Ttl};
pub use unit::Unit;
