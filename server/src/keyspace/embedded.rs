//! The embedded store as the runtime's keyspace.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use ferrite_protocol::keyspace::{
    CommandAccess, CommitError, DescribeError, KeyAccess, Keyspace, Mode, SetCondition, SetExpiry,
    StoreError, Transaction, Ttl,
};
use ferrite_protocol::resp::Encoder;
use ferrite_runtime::Runtime;
use ferrite_runtime::scheduling::per_core::PerCore;
use ferrite_store as store;

use crate::keyspace::reply_writer::Replies;

/// The runtime over the embedded store.
pub(crate) type Functions = Runtime<EmbeddedKeyspace>;

/// The embedded store as functions see it. It needs no server around it.
#[derive(Clone)]
pub struct EmbeddedKeyspace {
    /// Clones of the one store, so that threads do not count their transactions in the same place.
    stores: Arc<PerCore<store::Store>>,
}

impl EmbeddedKeyspace {
    /// Lets functions work on `store`, which others may use as well.
    #[must_use]
    pub fn new(store: &store::Store) -> Self {
        Self {
            stores: Arc::new(PerCore::new(usize::MAX, |_, _| store.clone())),
        }
    }

    /// The store itself.
    #[must_use]
    pub fn store(&self) -> &store::Store {
        self.stores.local()
    }
}

impl std::fmt::Debug for EmbeddedKeyspace {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("EmbeddedKeyspace")
    }
}

impl Keyspace for EmbeddedKeyspace {
    type Transaction = EmbeddedTransaction;

    fn begin(&self, database: u32, mode: Mode) -> EmbeddedTransaction {
        EmbeddedTransaction(self.store().begin(database, mode_of(mode)))
    }

    fn begin_exclusive(
        &self,
        database: u32,
        mode: Mode,
    ) -> impl Future<Output = EmbeddedTransaction> + Send {
        let begun = self.store().begin_exclusive(database, mode_of(mode));
        async move { EmbeddedTransaction(begun.await) }
    }

    fn describe(&self, argv: &[&[u8]]) -> Result<CommandAccess, DescribeError> {
        match self.store().describe(argv) {
            Ok(store::CommandAccess {
                name: _,
                write,
                keys,
            }) => Ok(CommandAccess {
                write,
                keys: match keys {
                    store::KeyAccess::None => KeyAccess::None,
                    store::KeyAccess::At(indexes) => KeyAccess::At(indexes),
                    store::KeyAccess::All => KeyAccess::All,
                    store::KeyAccess::Unknown => KeyAccess::Unknown,
                },
            }),
            Err(store::StoreError::Arity(_)) => Err(DescribeError::WrongArity),
            Err(_) => Err(DescribeError::UnknownCommand),
        }
    }

    fn is_command(&self, name: &[u8]) -> bool {
        self.store().command(name).is_some()
    }

    fn yield_now(&self) -> Option<Pin<Box<dyn Future<Output = ()> + Send>>> {
        // Outside of tokio it wakes its task at once, which is what happens anyhow without it.
        Some(Box::pin(tokio::task::yield_now()))
    }
}

const fn mode_of(mode: Mode) -> store::Mode {
    match mode {
        Mode::Read => store::Mode::Read,
        Mode::Write => store::Mode::Write,
    }
}

/// A transaction of the embedded store.
pub struct EmbeddedTransaction(store::Transaction);

impl std::fmt::Debug for EmbeddedTransaction {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("EmbeddedTransaction")
    }
}

impl Transaction for EmbeddedTransaction {
    type Receipt = store::Receipt;

    #[inline]
    fn now_millis(&mut self) -> i64 {
        self.0.now_millis()
    }

    #[inline]
    fn get<R>(
        &mut self,
        key: &[u8],
        read: impl FnOnce(&[u8]) -> R,
    ) -> Result<Option<R>, StoreError> {
        self.0.get(key, read).map_err(error_of)
    }

    #[inline]
    fn set(
        &mut self,
        key: &[u8],
        value: &[u8],
        condition: SetCondition,
        expiry: SetExpiry,
    ) -> Result<bool, StoreError> {
        let condition = match condition {
            SetCondition::Always => store::SetCondition::Always,
            SetCondition::IfAbsent => store::SetCondition::IfAbsent,
            SetCondition::IfPresent => store::SetCondition::IfPresent,
        };
        let expiry = match expiry {
            SetExpiry::None => store::SetExpiry::None,
            SetExpiry::Keep => store::SetExpiry::Keep,
            // The store has nothing that is gone at once; the next millisecond is as good.
            SetExpiry::AfterMillis(millis) => store::SetExpiry::AfterMillis(millis.max(1)),
        };
        self.0.set(key, value, condition, expiry).map_err(error_of)
    }

    #[inline]
    fn delete(&mut self, key: &[u8]) -> Result<bool, StoreError> {
        self.0.delete(key).map_err(error_of)
    }

    #[inline]
    fn exists(&mut self, key: &[u8]) -> Result<bool, StoreError> {
        self.0.exists(key).map_err(error_of)
    }

    #[inline]
    fn increment(&mut self, key: &[u8], delta: i64) -> Result<i64, StoreError> {
        self.0.increment(key, delta).map_err(error_of)
    }

    #[inline]
    fn expire(&mut self, key: &[u8], ttl_millis: i64) -> Result<bool, StoreError> {
        self.0.expire(key, ttl_millis).map_err(error_of)
    }

    #[inline]
    fn ttl(&mut self, key: &[u8]) -> Result<Ttl, StoreError> {
        match self.0.ttl(key) {
            Ok(store::Ttl::Millis(millis)) => Ok(Ttl::Millis(millis)),
            Ok(store::Ttl::NoExpiry) => Ok(Ttl::NoExpiry),
            Ok(store::Ttl::NoKey) => Ok(Ttl::NoKey),
            Err(error) => Err(error_of(error)),
        }
    }

    #[inline]
    fn hash_get<R>(
        &mut self,
        key: &[u8],
        field: &[u8],
        read: impl FnOnce(&[u8]) -> R,
    ) -> Result<Option<R>, StoreError> {
        self.0.hash_get(key, field, read).map_err(error_of)
    }

    #[inline]
    fn hash_set(&mut self, key: &[u8], field: &[u8], value: &[u8]) -> Result<bool, StoreError> {
        self.0.hash_set(key, field, value).map_err(error_of)
    }

    #[inline]
    fn hash_delete(&mut self, key: &[u8], field: &[u8]) -> Result<bool, StoreError> {
        self.0.hash_delete(key, field).map_err(error_of)
    }

    fn call(&mut self, argv: &[&[u8]], visible: &dyn Fn(&[u8]) -> bool, reply: &mut Encoder) {
        self.0.execute(argv, visible, &mut Replies(reply));
    }

    #[inline]
    fn is_lost(&self) -> bool {
        self.0.is_lost()
    }

    #[inline]
    fn commit(self) -> Result<store::Receipt, CommitError> {
        self.0.commit().map_err(|error| match error {
            store::CommitError::Conflict => CommitError::Conflict,
            store::CommitError::Store(error) => CommitError::Store(error_of(error)),
        })
    }
}

#[cold]
fn error_of(error: store::StoreError) -> StoreError {
    match error {
        store::StoreError::WrongType => StoreError::WrongType,
        store::StoreError::NotAnInteger | store::StoreError::NotAFloat => StoreError::NotAnInteger,
        store::StoreError::Overflow => StoreError::Overflow,
        store::StoreError::InvalidExpire(_) => StoreError::OutOfRange {
            what: "the time to live",
        },
        store::StoreError::StringTooLong => StoreError::OutOfRange {
            what: "the value's length",
        },
        store::StoreError::Conflict => StoreError::Conflict,
        error => StoreError::Failed(error.to_string().into()),
    }
}
