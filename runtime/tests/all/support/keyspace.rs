//! A keyspace in memory, with just enough to run functions, and conflicts and failures on demand.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use ferrite_protocol::budget::{Budget, Exceeded};
use ferrite_protocol::keyspace::{
    CommandAccess, CommitError, DescribeError, KeyAccess, Keyspace, Mode, SetCondition, SetExpiry,
    StoreError, Transaction, Ttl,
};
use ferrite_protocol::resp::{BoundedReply, Encoder, ReplyWriter as _};
use parking_lot::Mutex;
use smallvec::smallvec;

/// The time of every transaction.
pub(crate) const NOW_MILLIS: i64 = 1_700_000_000_000;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    String(Vec<u8>),
    Hash(BTreeMap<Vec<u8>, Vec<u8>>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) value: Value,
    pub(crate) expires_in: Option<i64>,
}

type Entries = HashMap<Vec<u8>, Entry>;

#[derive(Clone, Default)]
pub(crate) struct MemoryKeyspace {
    entries: Arc<Mutex<Entries>>,
    /// Number of commits that must find a conflict.
    pub(crate) conflicts: Arc<AtomicU32>,
    /// Number of transactions that must be lost when they read the key `contended`.
    pub(crate) losses: Arc<AtomicU32>,
    /// Non-zero if commits fail.
    pub(crate) broken: Arc<AtomicU32>,
    pub(crate) begun: Arc<AtomicU32>,
    pub(crate) begun_exclusive: Arc<AtomicU32>,
    pub(crate) committed: Arc<AtomicU64>,
    /// Non-zero if an exclusive transaction never begins.
    pub(crate) exclusive_never: Arc<AtomicU32>,
    pub(crate) ended_exclusive: Arc<AtomicU32>,
    /// Units of work that `WORK` did.
    pub(crate) worked: Arc<AtomicU64>,
}

impl MemoryKeyspace {
    pub(crate) fn put(&self, key: &str, value: &str) {
        self.entries.lock().insert(
            key.into(),
            Entry {
                value: Value::String(value.into()),
                expires_in: None,
            },
        );
    }

    pub(crate) fn put_hash(&self, key: &str, field: &str, value: &str) {
        let hash = BTreeMap::from([(field.into(), value.into())]);
        self.entries.lock().insert(
            key.into(),
            Entry {
                value: Value::Hash(hash),
                expires_in: None,
            },
        );
    }

    pub(crate) fn entry(&self, key: &str) -> Option<Entry> {
        self.entries.lock().get(key.as_bytes()).cloned()
    }

    pub(crate) fn string(&self, key: &str) -> Option<String> {
        match self.entry(key)?.value {
            Value::String(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
            Value::Hash(_) => None,
        }
    }

    fn transaction(&self, mode: Mode, exclusive: bool) -> MemoryTransaction {
        MemoryTransaction {
            mode,
            exclusive,
            view: self.entries.lock().clone(),
            entries: Arc::clone(&self.entries),
            conflicts: Arc::clone(&self.conflicts),
            losses: Arc::clone(&self.losses),
            lost: false,
            broken: Arc::clone(&self.broken),
            committed: Arc::clone(&self.committed),
            worked: Arc::clone(&self.worked),
            ended_exclusive: Arc::clone(&self.ended_exclusive),
        }
    }
}

impl Keyspace for MemoryKeyspace {
    type Transaction = MemoryTransaction;

    fn begin(&self, _database: u32, mode: Mode) -> MemoryTransaction {
        self.begun.fetch_add(1, Ordering::Relaxed);
        self.transaction(mode, false)
    }

    async fn begin_exclusive(&self, _database: u32, mode: Mode) -> MemoryTransaction {
        if self.exclusive_never.load(Ordering::Relaxed) > 0 {
            std::future::pending::<()>().await;
        }
        self.begun_exclusive.fetch_add(1, Ordering::Relaxed);
        self.transaction(mode, true)
    }

    fn describe(&self, argv: &[&[u8]]) -> Result<CommandAccess, DescribeError> {
        let keys = |write| CommandAccess::new(write, KeyAccess::At(smallvec![1]));
        match (argv[0].to_ascii_uppercase().as_slice(), argv.len()) {
            (b"GET", 2) | (b"REPEAT" | b"WORK", 3) => Ok(keys(false)),
            (b"SET" | b"GROW", 3) => Ok(keys(true)),
            (b"KEYS", 1) => Ok(CommandAccess::new(false, KeyAccess::Listed)),
            (b"ECHO", _) => Ok(CommandAccess::new(false, KeyAccess::None)),
            (b"GET" | b"SET" | b"KEYS" | b"REPEAT" | b"WORK" | b"GROW", _) => {
                Err(DescribeError::WrongArity)
            }
            _ => Err(DescribeError::UnknownCommand),
        }
    }

    fn is_command(&self, name: &[u8]) -> bool {
        !matches!(self.describe(&[name]), Err(DescribeError::UnknownCommand))
    }
}

pub(crate) struct MemoryTransaction {
    mode: Mode,
    exclusive: bool,
    view: Entries,
    entries: Arc<Mutex<Entries>>,
    conflicts: Arc<AtomicU32>,
    losses: Arc<AtomicU32>,
    lost: bool,
    broken: Arc<AtomicU32>,
    committed: Arc<AtomicU64>,
    worked: Arc<AtomicU64>,
    ended_exclusive: Arc<AtomicU32>,
}

impl MemoryTransaction {
    fn bytes(&self, key: &[u8]) -> Result<Option<&[u8]>, StoreError> {
        match self.view.get(key).map(|entry| &entry.value) {
            None => Ok(None),
            Some(Value::String(bytes)) => Ok(Some(bytes)),
            Some(Value::Hash(_)) => Err(StoreError::WrongType),
        }
    }

    fn hash(&mut self, key: &[u8]) -> Result<&mut BTreeMap<Vec<u8>, Vec<u8>>, StoreError> {
        let entry = self.view.entry(key.to_vec()).or_insert_with(|| Entry {
            value: Value::Hash(BTreeMap::new()),
            expires_in: None,
        });
        match &mut entry.value {
            Value::Hash(hash) => Ok(hash),
            Value::String(_) => Err(StoreError::WrongType),
        }
    }

    /// Returns the number at a key; 0 if there is none.
    fn units(&self, key: &str) -> u64 {
        let text = self.bytes(key.as_bytes()).ok().flatten();
        let text = text.and_then(|bytes| std::str::from_utf8(bytes).ok());
        text.and_then(|text| text.parse().ok()).unwrap_or(0)
    }

    fn write(&self) -> Result<(), StoreError> {
        match self.mode {
            Mode::Write => Ok(()),
            Mode::Read | Mode::ReadLatest => {
                Err(StoreError::Failed("written in a reading call".into()))
            }
        }
    }
}

impl Transaction for MemoryTransaction {
    /// Number of commits.
    type Receipt = u64;

    fn now_millis(&mut self) -> i64 {
        NOW_MILLIS
    }

    fn get<R>(
        &mut self,
        key: &[u8],
        read: impl FnOnce(&[u8]) -> R,
    ) -> Result<Option<R>, StoreError> {
        if key == b"broken" {
            return Err(StoreError::Failed("on purpose".into()));
        }
        if key == b"contended" && !self.exclusive && (self.lost || take_one(&self.losses)) {
            self.lost = true;
            return Err(StoreError::Conflict);
        }
        Ok(self.bytes(key)?.map(read))
    }

    fn set(
        &mut self,
        key: &[u8],
        value: &[u8],
        condition: SetCondition,
        expiry: SetExpiry,
    ) -> Result<bool, StoreError> {
        self.write()?;
        let known = self.view.get(key);
        let stored = match condition {
            SetCondition::Always => true,
            SetCondition::IfAbsent => known.is_none(),
            SetCondition::IfPresent => known.is_some(),
        };
        if stored {
            let expires_in = match expiry {
                SetExpiry::None => None,
                SetExpiry::Keep => known.and_then(|entry| entry.expires_in),
                SetExpiry::AfterMillis(millis) => Some(millis),
            };
            let value = Value::String(value.to_vec());
            self.view.insert(key.to_vec(), Entry { value, expires_in });
        }
        Ok(stored)
    }

    fn delete(&mut self, key: &[u8]) -> Result<bool, StoreError> {
        self.write()?;
        Ok(self.view.remove(key).is_some())
    }

    fn exists(&mut self, key: &[u8]) -> Result<bool, StoreError> {
        Ok(self.view.contains_key(key))
    }

    fn increment(&mut self, key: &[u8], delta: i64) -> Result<i64, StoreError> {
        self.write()?;
        let number: i64 = match self.bytes(key)? {
            None => 0,
            Some(bytes) => std::str::from_utf8(bytes)
                .ok()
                .and_then(|text| text.parse().ok())
                .ok_or(StoreError::NotAnInteger)?,
        };
        let sum = number.checked_add(delta).ok_or(StoreError::Overflow)?;
        self.set(
            key,
            sum.to_string().as_bytes(),
            SetCondition::Always,
            SetExpiry::Keep,
        )?;
        Ok(sum)
    }

    fn expire(&mut self, key: &[u8], ttl_millis: i64) -> Result<bool, StoreError> {
        self.write()?;
        if ttl_millis <= 0 {
            return Ok(self.view.remove(key).is_some());
        }
        Ok(self
            .view
            .get_mut(key)
            .map(|entry| entry.expires_in = Some(ttl_millis))
            .is_some())
    }

    fn ttl(&mut self, key: &[u8]) -> Result<Ttl, StoreError> {
        Ok(match self.view.get(key) {
            None => Ttl::NoKey,
            Some(entry) => entry.expires_in.map_or(Ttl::NoExpiry, Ttl::Millis),
        })
    }

    fn hash_get<R>(
        &mut self,
        key: &[u8],
        field: &[u8],
        read: impl FnOnce(&[u8]) -> R,
    ) -> Result<Option<R>, StoreError> {
        match self.view.get(key).map(|entry| &entry.value) {
            None => Ok(None),
            Some(Value::Hash(hash)) => Ok(hash.get(field).map(|value| read(value))),
            Some(Value::String(_)) => Err(StoreError::WrongType),
        }
    }

    fn hash_set(&mut self, key: &[u8], field: &[u8], value: &[u8]) -> Result<bool, StoreError> {
        self.write()?;
        let hash = self.hash(key)?;
        Ok(hash.insert(field.to_vec(), value.to_vec()).is_none())
    }

    fn hash_delete(&mut self, key: &[u8], field: &[u8]) -> Result<bool, StoreError> {
        self.write()?;
        Ok(self.hash(key)?.remove(field).is_some())
    }

    fn call(
        &mut self,
        argv: &[&[u8]],
        visible: &dyn Fn(&[u8]) -> bool,
        budget: &Budget<'_>,
        reply: &mut Encoder,
    ) -> Result<(), Exceeded> {
        match argv[0].to_ascii_uppercase().as_slice() {
            b"GET" => match self.bytes(argv[1]) {
                Ok(Some(bytes)) => {
                    let mut reply = BoundedReply::new(reply, budget);
                    reply.bulk(bytes);
                    return reply.finish();
                }
                Ok(None) => reply.null(),
                Err(error) => reply.error_display(&format_args!("WRONGTYPE {error}")),
            },
            b"SET" => match self.set(argv[1], argv[2], SetCondition::Always, SetExpiry::None) {
                Ok(_) => reply.ok(),
                Err(error) => reply.error_display(&format_args!("ERR {error}")),
            },
            b"KEYS" => {
                let mut keys: Vec<_> = self.view.keys().filter(|key| visible(key)).collect();
                keys.sort();
                reply.array(keys.len());
                keys.iter().for_each(|key| reply.bulk(key));
            }
            b"ECHO" => {
                reply.array(argv.len() - 1);
                argv[1..].iter().for_each(|arg| reply.bulk(arg));
            }
            b"REPEAT" => {
                let count = String::from_utf8_lossy(argv[2]).parse().unwrap_or(0);
                let mut reply = BoundedReply::new(reply, budget);
                reply.bulk(&vec![b'x'; count]);
                return reply.finish();
            }
            b"WORK" => {
                let units: u64 = String::from_utf8_lossy(argv[2]).parse().unwrap_or(0);
                for _ in 0..units {
                    budget.charge(1)?;
                    self.worked.fetch_add(1, Ordering::Relaxed);
                }
                reply.ok();
            }
            b"GROW" => {
                let count = String::from_utf8_lossy(argv[2]).parse().unwrap_or(0);
                budget.count_written(count)?;
                reply.ok();
            }
            _ => reply.error("ERR not described"),
        }
        Ok(())
    }

    fn is_lost(&self) -> bool {
        self.lost
    }

    fn end_exclusive(&mut self) {
        self.exclusive = false;
        self.ended_exclusive.fetch_add(1, Ordering::Relaxed);
    }

    /// The number at `extra`, after each operation.
    fn take_extra_work(&mut self) -> u64 {
        self.units("extra")
    }

    /// The number at `heavy`.
    fn commit_work(&self) -> u64 {
        self.units("heavy")
    }

    fn commit(self) -> Result<u64, CommitError> {
        if self.broken.load(Ordering::Relaxed) > 0 {
            return Err(CommitError::Store(StoreError::Failed("disk full".into())));
        }
        if self.lost || (!self.exclusive && take_one(&self.conflicts)) {
            return Err(CommitError::Conflict);
        }
        *self.entries.lock() = self.view;
        Ok(self.committed.fetch_add(1, Ordering::Relaxed) + 1)
    }
}

/// Takes one from a count, if there is any left.
fn take_one(count: &AtomicU32) -> bool {
    count
        .try_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
            left.checked_sub(1)
        })
        .is_ok()
}
