//! The typed operations of a call, over what it has written and then over the server's data.
//!
//! A session is one visit to the data: on the main thread the whole time that a call is polled
//! there, beside it one turn of the server's lock.

use ferrite_protocol::keyspace::{SetCondition, SetExpiry, StoreError, Ttl};
use ferrite_protocol::number::parse_integer;
use smallvec::SmallVec;

use crate::api::context::Context;
use crate::transaction::call::{Call, SHORT_MAX, State};
use crate::transaction::read_set::{CHECKED_MAX, Read, What, hash_of, hash_result};
use crate::transaction::server_reads::{self, Lifetime, Server};
use crate::transaction::write_set::{Change, Expiry, Fields, KeyRef, Value};

/// One visit of a call to the data.
pub(crate) struct Session<'s> {
    pub(crate) call: &'s Call,
    pub(crate) state: &'s mut State,
    pub(crate) context: Context<'s>,
    /// Whether the server stands still between the visits.
    pub(crate) main: bool,
}

impl Session<'_> {
    pub(crate) fn get<R>(
        &mut self,
        name: &[u8],
        read: impl FnOnce(&[u8]) -> R,
    ) -> Result<Option<R>, StoreError> {
        let key = self.call.key(name);
        match self.state.overlay.get(&key).map(|change| &change.value) {
            Some(Value::String(value)) => return Ok(Some(read(value))),
            Some(Value::Gone) => return Ok(None),
            Some(Value::Hash(_)) => return Err(StoreError::WrongType),
            Some(Value::Same) | None => {}
        }
        let stands_still = self.main && !self.state.journal.is_active();
        if stands_still
            && let Some((known, value)) = &self.state.last
            && *known == key
        {
            return Ok(value.as_deref().map(read));
        }
        let mut last = None;
        let result = self.read(What::String(key), |this, what| {
            let What::String(key) = what else {
                return (Ok(None), 0);
            };
            let hashed = !this.main || this.state.journal.is_active();
            let result = server_reads::string(this.server(), key, |bytes| {
                if stands_still && bytes.len() <= SHORT_MAX {
                    last = Some((key.clone(), Some(SmallVec::from_slice(bytes))));
                }
                (if hashed { hash_of(bytes) } else { 0 }, read(bytes))
            });
            let (hash, result) = match result {
                Ok(Some((hash, value))) => (Ok(Some(hash)), Ok(Some(value))),
                Ok(None) => {
                    last = stands_still.then(|| (key.clone(), None));
                    (Ok(None), Ok(None))
                }
                Err(error) => (Err(error.clone()), Err(error)),
            };
            (result, if hashed { hash_result(&hash) } else { 0 })
        });
        if last.is_some() {
            self.state.last = last;
        }
        result
    }

    pub(crate) fn set(
        &mut self,
        name: &[u8],
        value: &[u8],
        condition: SetCondition,
        expiry: SetExpiry,
    ) -> Result<bool, StoreError> {
        let key = self.call.key(name);
        self.may_write(&key)?;
        match condition {
            SetCondition::Always => {}
            SetCondition::IfAbsent if self.exists_key(&key)? => return Ok(false),
            SetCondition::IfPresent if !self.exists_key(&key)? => return Ok(false),
            SetCondition::IfAbsent | SetCondition::IfPresent => {}
        }
        let expiry = match expiry {
            SetExpiry::None => Expiry::Never,
            SetExpiry::Keep => self.kept_expiry(&key),
            SetExpiry::AfterMillis(0) => {
                self.put(&key, Value::Gone, Expiry::Never);
                return Ok(true);
            }
            SetExpiry::AfterMillis(millis) => Expiry::At(self.after(millis)?),
        };
        self.put(&key, Value::String(value.to_vec()), expiry);
        Ok(true)
    }

    pub(crate) fn delete(&mut self, name: &[u8]) -> Result<bool, StoreError> {
        let key = self.call.key(name);
        self.may_write(&key)?;
        let existed = self.exists_key(&key)?;
        if existed {
            self.put(&key, Value::Gone, Expiry::Never);
        }
        Ok(existed)
    }

    pub(crate) fn exists(&mut self, name: &[u8]) -> Result<bool, StoreError> {
        let key = self.call.key(name);
        self.exists_key(&key)
    }

    pub(crate) fn increment(&mut self, name: &[u8], delta: i64) -> Result<i64, StoreError> {
        self.may_write(&self.call.key(name))?;
        let number = self
            .get(name, parse_integer)?
            .unwrap_or(Some(0))
            .ok_or(StoreError::NotAnInteger)?;
        let sum = number.checked_add(delta).ok_or(StoreError::Overflow)?;
        let key = self.call.key(name);
        let expiry = self.kept_expiry(&key);
        self.put(&key, Value::String(sum.to_string().into_bytes()), expiry);
        Ok(sum)
    }

    pub(crate) fn expire(&mut self, name: &[u8], ttl_millis: i64) -> Result<bool, StoreError> {
        let key = self.call.key(name);
        self.may_write(&key)?;
        if !self.exists_key(&key)? {
            return Ok(false);
        }
        if ttl_millis <= 0 {
            self.put(&key, Value::Gone, Expiry::Never);
            return Ok(true);
        }
        let at = Expiry::At(self.after(ttl_millis)?);
        match self.state.overlay.get_mut(&key) {
            Some(change) => change.expiry = at,
            None => self.put(&key, Value::Same, at),
        }
        Ok(true)
    }

    pub(crate) fn ttl(&mut self, name: &[u8]) -> Result<Ttl, StoreError> {
        let key = self.call.key(name);
        let now = self.now();
        let left = |at: i64| Ttl::Millis(at.saturating_sub(now).max(0));
        if let Some(change) = self.state.overlay.get(&key) {
            if !change.exists() {
                return Ok(Ttl::NoKey);
            }
            match change.expiry {
                Expiry::At(at) => return Ok(left(at)),
                Expiry::Never => return Ok(Ttl::NoExpiry),
                Expiry::Keep => {}
            }
        }
        let ours = self.state.overlay.get(&key).is_some();
        let lifetime = self.read(What::Lifetime(key), |this, what| {
            let What::Lifetime(key) = what else {
                return (Ok(Lifetime::NoKey), 0);
            };
            let result = server_reads::lifetime(this.server(), key);
            let hash = hash_result(&result);
            (result, hash)
        })?;
        Ok(match lifetime {
            Lifetime::At(at) => left(at),
            Lifetime::Never => Ttl::NoExpiry,
            // A key that the call has made has no expiry to keep.
            Lifetime::NoKey if ours => Ttl::NoExpiry,
            Lifetime::NoKey => Ttl::NoKey,
        })
    }

    pub(crate) fn hash_get<R>(
        &mut self,
        name: &[u8],
        field: &[u8],
        read: impl FnOnce(&[u8]) -> R,
    ) -> Result<Option<R>, StoreError> {
        let key = self.call.key(name);
        match self.state.overlay.get(&key).map(|change| &change.value) {
            Some(Value::String(_)) => return Err(StoreError::WrongType),
            Some(Value::Gone) => return Ok(None),
            Some(Value::Hash(fields)) => match fields.get(field) {
                Some(value) => return Ok(value.map(read)),
                None if fields.fresh => return Ok(None),
                None => {}
            },
            Some(Value::Same) | None => {}
        }
        self.read(What::Field(key, field.into()), |this, what| {
            let What::Field(key, field) = what else {
                return (Ok(None), 0);
            };
            let result = server_reads::field(this.server(), key, field, |bytes| {
                (hash_of(bytes), read(bytes))
            });
            let (hash, result) = match result {
                Ok(Some((hash, value))) => (Ok(Some(hash)), Ok(Some(value))),
                Ok(None) => (Ok(None), Ok(None)),
                Err(error) => (Err(error.clone()), Err(error)),
            };
            (result, hash_result(&hash))
        })
    }

    pub(crate) fn hash_set(
        &mut self,
        name: &[u8],
        field: &[u8],
        value: &[u8],
    ) -> Result<bool, StoreError> {
        let key = self.call.key(name);
        self.may_write(&key)?;
        let existed = self.hash_get(name, field, |_| ())?.is_some();
        let fields = self.fields_mut(&key)?;
        fields.put(field, Some(value.to_vec()));
        fields.len += usize::from(!existed);
        Ok(!existed)
    }

    pub(crate) fn hash_delete(&mut self, name: &[u8], field: &[u8]) -> Result<bool, StoreError> {
        let key = self.call.key(name);
        self.may_write(&key)?;
        if self.hash_get(name, field, |_| ())?.is_none() {
            return Ok(false);
        }
        let fields = self.fields_mut(&key)?;
        fields.put(field, None);
        fields.len = fields.len.saturating_sub(1);
        if fields.len == 0 {
            self.put(&key, Value::Gone, Expiry::Never);
        }
        Ok(true)
    }

    /// The server, to ask it.
    pub(crate) fn server(&self) -> Server<'_> {
        Server {
            call: self.call,
            context: self.context,
        }
    }

    /// The call's time, in milliseconds since 1970.
    pub(crate) fn now(&mut self) -> i64 {
        *self.state.now.get_or_insert_with(now_millis)
    }

    /// The changes of the hash at a key, which holds a hash or nothing.
    fn fields_mut(&mut self, key: &KeyRef) -> Result<&mut Fields, StoreError> {
        let fields = match self.state.overlay.get(key).map(|change| &change.value) {
            Some(Value::Hash(_)) => None,
            Some(Value::String(_)) => return Err(StoreError::WrongType),
            Some(Value::Gone) => Some(Fields {
                fresh: true,
                ..Fields::default()
            }),
            Some(Value::Same) | None => {
                let len = self.read(What::HashLen(key.clone()), |this, what| {
                    let What::HashLen(key) = what else {
                        return (Ok(0), 0);
                    };
                    let result = server_reads::hash_len(this.server(), key);
                    let hash = hash_result(&result);
                    (result, hash)
                })?;
                Some(Fields {
                    fresh: len == 0,
                    len,
                    ..Fields::default()
                })
            }
        };
        if let Some(fields) = fields {
            let expiry = self.kept_expiry(key);
            self.put(key, Value::Hash(fields), expiry);
        }
        match self
            .state
            .overlay
            .get_mut(key)
            .map(|change| &mut change.value)
        {
            Some(Value::Hash(fields)) => Ok(fields),
            // It was put there just now.
            _ => Err(StoreError::WrongType),
        }
    }

    fn exists_key(&mut self, key: &KeyRef) -> Result<bool, StoreError> {
        if let Some(change) = self.state.overlay.get(key) {
            return Ok(change.exists());
        }
        self.read(What::Exists(key.clone()), |this, what| {
            let What::Exists(key) = what else {
                return (Ok(false), 0);
            };
            let result = server_reads::exists(this.server(), key);
            let hash = hash_result(&result);
            (result, hash)
        })
    }

    /// What "keep the expiry" means for a key now.
    fn kept_expiry(&self, key: &KeyRef) -> Expiry {
        match self.state.overlay.get(key) {
            Some(change) if change.exists() => change.expiry,
            Some(_) => Expiry::Never,
            None => Expiry::Keep,
        }
    }

    fn put(&mut self, key: &KeyRef, value: Value, expiry: Expiry) {
        self.state.overlay.put(key, Change { value, expiry });
    }

    fn after(&mut self, millis: i64) -> Result<i64, StoreError> {
        self.now()
            .checked_add(millis)
            .ok_or(StoreError::OutOfRange {
                what: "the time to live",
            })
    }

    /// Reads the server's data as the call sees it, and remembers what was seen.
    pub(crate) fn read<R>(
        &mut self,
        what: What,
        look: impl FnOnce(&Self, &What) -> (Result<R, StoreError>, u64),
    ) -> Result<R, StoreError> {
        if self.state.journal.is_active() {
            return self.read_within_journal(what, look);
        }
        if self.main {
            let (result, _) = look(self, &what);
            if self.state.reads.last().is_none_or(|last| last.what != what) {
                self.state.reads.push(Read { what, seen: None });
            }
            return result;
        }
        if self.state.reads.len() <= CHECKED_MAX && !self.reads_hold() {
            return Err(StoreError::Conflict);
        }
        let (result, hash) = look(self, &what);
        self.state.reads.push(Read {
            what,
            seen: Some(hash),
        });
        result
    }

    /// Whether everything that was read would still be read; notes it if not.
    pub(crate) fn reads_hold(&mut self) -> bool {
        if self.state.conflict {
            return false;
        }
        let reads = std::mem::take(&mut self.state.reads);
        let hold = reads.iter().all(|read| {
            read.seen
                .is_none_or(|seen| read.what.look(self.server()) == seen)
        });
        self.state.reads = reads;
        self.state.conflict = !hold;
        hold
    }

    /// Hashes what was read while the server stood still, which is about to go on.
    pub(crate) fn settle_reads(&mut self) {
        let mut reads = std::mem::take(&mut self.state.reads);
        for read in &mut reads {
            if read.seen.is_none() {
                read.seen = Some(read.what.look(self.server()));
            }
        }
        self.state.reads = reads;
    }
}

fn now_millis() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    })
}
