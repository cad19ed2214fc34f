//! The typed operations of a call, on what the call has written and then on the server's data.

use ferrite_protocol::budget::LOOKUP;
use ferrite_protocol::keyspace::{SetCondition, SetExpiry, StoreError, Ttl};
use ferrite_protocol::number::parse_integer;
use ferrite_runtime::policy::permissions::Access;
use smallvec::SmallVec;

use crate::api::context::Context;
use crate::transaction::call::{Call, CallState, SHORT_MAX};
use crate::transaction::read_set::{
    CHECKED_MAX, CHECKED_WORK_MAX, Read, ReadKind, hash_of, hash_result,
};
use crate::transaction::server_reads::{self, Lifetime, Server};
use crate::transaction::write_set::{Change, Expiry, Fields, KeyRef, Value};

/// A call's view of the data, for one access under the server's lock.
pub(crate) struct CallView<'s> {
    pub(crate) call: &'s Call,
    pub(crate) state: &'s mut CallState,
    pub(crate) context: Context<'s>,
    /// True if no other client is served between two accesses.
    pub(crate) on_main_thread: bool,
}

impl CallView<'_> {
    pub(crate) fn get<R>(
        &mut self,
        name: &[u8],
        read: impl FnOnce(&[u8]) -> R,
    ) -> Result<Option<R>, StoreError> {
        let key = self.call.key(name);
        self.permit(&key, Access::Get)?;
        self.string_at(key, read)
    }

    /// Reads a string, once the access was permitted.
    fn string_at<R>(
        &mut self,
        key: KeyRef,
        read: impl FnOnce(&[u8]) -> R,
    ) -> Result<Option<R>, StoreError> {
        match self.state.write_set.get(&key).map(|change| &change.value) {
            Some(Value::String(value)) => return Ok(Some(read(value))),
            Some(Value::Gone) => return Ok(None),
            Some(Value::Hash(_)) => return Err(StoreError::WrongType),
            Some(Value::Same) | None => {}
        }
        let undisturbed = self.on_main_thread && !self.state.journal.is_active();
        if undisturbed
            && let Some((known, value)) = &self.state.last
            && *known == key
        {
            return Ok(value.as_deref().map(read));
        }
        let (mut last, mut len) = (None, 0);
        let result = self.read(ReadKind::String(key), |this, kind| {
            let ReadKind::String(key) = kind else {
                return (Ok(None), 0);
            };
            let hashed =
                !this.state.undivided && (!this.on_main_thread || this.state.journal.is_active());
            let result = server_reads::string(this.server(), key, |bytes| {
                len = bytes.len();
                if undisturbed && bytes.len() <= SHORT_MAX {
                    last = Some((key.clone(), Some(SmallVec::from_slice(bytes))));
                }
                (if hashed { hash_of(bytes) } else { 0 }, read(bytes))
            });
            let (hash, result) = match result {
                Ok(Some((hash, value))) => (Ok(Some(hash)), Ok(Some(value))),
                Ok(None) => {
                    last = undisturbed.then(|| (key.clone(), None));
                    (Ok(None), Ok(None))
                }
                Err(error) => (Err(error.clone()), Err(error)),
            };
            (result, if hashed { hash_result(&hash) } else { 0 })
        });
        if last.is_some() {
            self.state.last = last;
        }
        if len > SHORT_MAX {
            self.state.note_read_bytes(len);
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
        self.permit_write(&key, Access::Set)?;
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
        self.permit_write(&key, Access::Delete)?;
        let existed = self.exists_key(&key)?;
        if existed {
            self.put(&key, Value::Gone, Expiry::Never);
        }
        Ok(existed)
    }

    pub(crate) fn exists(&mut self, name: &[u8]) -> Result<bool, StoreError> {
        let key = self.call.key(name);
        self.permit(&key, Access::Exists)?;
        self.exists_key(&key)
    }

    pub(crate) fn increment(&mut self, name: &[u8], delta: i64) -> Result<i64, StoreError> {
        let key = self.call.key(name);
        self.permit_write(&key, Access::increment(delta))?;
        let number = self
            .string_at(key.clone(), parse_integer)?
            .unwrap_or(Some(0))
            .ok_or(StoreError::NotAnInteger)?;
        let sum = number.checked_add(delta).ok_or(StoreError::Overflow)?;
        let expiry = self.kept_expiry(&key);
        self.put(&key, Value::String(sum.to_string().into_bytes()), expiry);
        Ok(sum)
    }

    pub(crate) fn expire(&mut self, name: &[u8], ttl_millis: i64) -> Result<bool, StoreError> {
        let key = self.call.key(name);
        self.permit_write(&key, Access::Expire)?;
        if !self.exists_key(&key)? {
            return Ok(false);
        }
        if ttl_millis <= 0 {
            self.put(&key, Value::Gone, Expiry::Never);
            return Ok(true);
        }
        let at = Expiry::At(self.after(ttl_millis)?);
        match self.state.write_set.get_mut(&key) {
            Some(change) => change.expiry = at,
            None => self.put(&key, Value::Same, at),
        }
        Ok(true)
    }

    pub(crate) fn ttl(&mut self, name: &[u8]) -> Result<Ttl, StoreError> {
        let key = self.call.key(name);
        self.permit(&key, Access::Ttl)?;
        let now = self.now();
        let left = |at: i64| Ttl::Millis(at.saturating_sub(now).max(0));
        if let Some(change) = self.state.write_set.get(&key) {
            if !change.exists() {
                return Ok(Ttl::NoKey);
            }
            match change.expiry {
                Expiry::At(at) => return Ok(left(at)),
                Expiry::Never => return Ok(Ttl::NoExpiry),
                Expiry::Keep => {}
            }
        }
        let ours = self.state.write_set.get(&key).is_some();
        let lifetime = self.read(ReadKind::Lifetime(key), |this, kind| {
            let ReadKind::Lifetime(key) = kind else {
                return (Ok(Lifetime::NoKey), 0);
            };
            let result = server_reads::lifetime(this.server(), key);
            let hash = hash_result(&result);
            (result, hash)
        })?;
        Ok(match lifetime {
            Lifetime::At(at) => left(at),
            Lifetime::Never => Ttl::NoExpiry,
            // A key that the call has created has no expiry to keep.
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
        self.permit(&key, Access::HashGet)?;
        self.field_at(key, field, read)
    }

    /// Reads a field of a hash, once the access was permitted.
    fn field_at<R>(
        &mut self,
        key: KeyRef,
        field: &[u8],
        read: impl FnOnce(&[u8]) -> R,
    ) -> Result<Option<R>, StoreError> {
        match self.state.write_set.get(&key).map(|change| &change.value) {
            Some(Value::String(_)) => return Err(StoreError::WrongType),
            Some(Value::Gone) => return Ok(None),
            Some(Value::Hash(fields)) => match fields.get(field) {
                Some(value) => return Ok(value.map(read)),
                None if fields.fresh => return Ok(None),
                None => {}
            },
            Some(Value::Same) | None => {}
        }
        let mut len = 0;
        let result = self.read(ReadKind::Field(key, field.into()), |this, kind| {
            let ReadKind::Field(key, field) = kind else {
                return (Ok(None), 0);
            };
            let result = server_reads::field(this.server(), key, field, |bytes| {
                len = bytes.len();
                (hash_of(bytes), read(bytes))
            });
            let (hash, result) = match result {
                Ok(Some((hash, value))) => (Ok(Some(hash)), Ok(Some(value))),
                Ok(None) => (Ok(None), Ok(None)),
                Err(error) => (Err(error.clone()), Err(error)),
            };
            (result, hash_result(&hash))
        });
        if len > SHORT_MAX {
            self.state.note_read_bytes(len);
        }
        result
    }

    pub(crate) fn hash_set(
        &mut self,
        name: &[u8],
        field: &[u8],
        value: &[u8],
    ) -> Result<bool, StoreError> {
        let key = self.call.key(name);
        self.permit_write(&key, Access::HashSet)?;
        let (existed, len) = self.field_to_change(&key, field)?;
        if let Some(len) = len {
            self.put_fields(&key, len);
        }
        let fields = self.fields_mut(&key)?;
        fields.put(field, Some(value.to_vec()));
        fields.len += usize::from(!existed);
        Ok(!existed)
    }

    pub(crate) fn hash_delete(&mut self, name: &[u8], field: &[u8]) -> Result<bool, StoreError> {
        let key = self.call.key(name);
        self.permit_write(&key, Access::HashDelete)?;
        let (existed, len) = self.field_to_change(&key, field)?;
        if !existed {
            return Ok(false);
        }
        if let Some(len) = len {
            self.put_fields(&key, len);
        }
        let fields = self.fields_mut(&key)?;
        fields.put(field, None);
        fields.len = fields.len.saturating_sub(1);
        if fields.len == 0 {
            self.put(&key, Value::Gone, Expiry::Never);
        }
        Ok(true)
    }

    /// Returns true if a field exists that the call is about to change, and the number of fields of the
    /// hash if the call has changed none of them before.
    fn field_to_change(
        &mut self,
        key: &KeyRef,
        field: &[u8],
    ) -> Result<(bool, Option<usize>), StoreError> {
        match self.state.write_set.get(key).map(|change| &change.value) {
            Some(Value::Same) | None => {}
            Some(_) => {
                let value = self.field_at(key.clone(), field, |_| ())?;
                return Ok((value.is_some(), None));
            }
        }
        // One look at the key for both.
        let kind = ReadKind::HasField(key.clone(), field.into());
        let (existed, len) = self.read(kind, |this, kind| {
            let ReadKind::HasField(key, field) = kind else {
                return (Ok((false, 0)), 0);
            };
            let result = server_reads::has_field(this.server(), key, field);
            let hash = hash_result(&result);
            (result, hash)
        })?;
        Ok((existed, Some(len)))
    }

    /// Begins to collect changes of a hash that has `len` fields.
    fn put_fields(&mut self, key: &KeyRef, len: usize) {
        let expiry = self.kept_expiry(key);
        self.put(key, Value::Hash(Fields::of_hash(len)), expiry);
    }

    /// The server, for reads of this call.
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

    /// Returns the changes of the hash at a key, which the call has begun to collect, or has deleted.
    fn fields_mut(&mut self, key: &KeyRef) -> Result<&mut Fields, StoreError> {
        if let Some(Value::Gone) = self.state.write_set.get(key).map(|change| &change.value) {
            self.put_fields(key, 0);
        }
        match self
            .state
            .write_set
            .get_mut(key)
            .map(|change| &mut change.value)
        {
            Some(Value::Hash(fields)) => Ok(fields),
            // The field was found in no hash.
            _ => Err(StoreError::WrongType),
        }
    }

    fn exists_key(&mut self, key: &KeyRef) -> Result<bool, StoreError> {
        if let Some(change) = self.state.write_set.get(key) {
            return Ok(change.exists());
        }
        self.read(ReadKind::Exists(key.clone()), |this, kind| {
            let ReadKind::Exists(key) = kind else {
                return (Ok(false), 0);
            };
            let result = server_reads::exists(this.server(), key);
            let hash = hash_result(&result);
            (result, hash)
        })
    }

    /// Returns the expiry that a key has if it keeps its own.
    fn kept_expiry(&self, key: &KeyRef) -> Expiry {
        match self.state.write_set.get(key) {
            Some(change) if change.exists() => change.expiry,
            Some(_) => Expiry::Never,
            None => Expiry::Keep,
        }
    }

    fn put(&mut self, key: &KeyRef, value: Value, expiry: Expiry) {
        self.state.write_set.put(key, Change { value, expiry });
    }

    fn after(&mut self, millis: i64) -> Result<i64, StoreError> {
        self.now()
            .checked_add(millis)
            .ok_or(StoreError::OutOfRange {
                what: "the time to live",
            })
    }

    /// Reads the server's data with `read_now`, which returns the result and its hash, and notes
    /// the read.
    ///
    /// # Errors
    ///
    /// `Conflict` if earlier reads do not hold any more.
    pub(crate) fn read<R>(
        &mut self,
        kind: ReadKind,
        read_now: impl FnOnce(&Self, &ReadKind) -> (Result<R, StoreError>, u64),
    ) -> Result<R, StoreError> {
        if self.state.journal.is_active() {
            return self.read_within_journal(kind, read_now);
        }
        if self.state.reads_latest {
            return read_now(self, &kind).0;
        }
        if self.on_main_thread {
            let (result, _) = read_now(self, &kind);
            let reads = &self.state.reads;
            if !self.state.undivided && reads.last().is_none_or(|last| last.kind != kind) {
                self.state.reads.push(Read {
                    kind,
                    hash: None,
                    work: LOOKUP,
                });
            }
            return result;
        }
        let checks =
            self.state.reads.len() <= CHECKED_MAX && self.state.reads_work() <= CHECKED_WORK_MAX;
        if checks && !self.reads_hold() {
            return Err(StoreError::Conflict);
        }
        let (result, hash) = read_now(self, &kind);
        self.state.reads.push(Read {
            kind,
            hash: Some(hash),
            work: LOOKUP,
        });
        result
    }

    /// Returns true if all reads would have the same results now; notes the conflict if not.
    pub(crate) fn reads_hold(&mut self) -> bool {
        if self.state.conflict {
            return false;
        }
        self.state.add_work(self.state.reads_work());
        let reads = std::mem::take(&mut self.state.reads);
        let hold = reads.iter().all(|read| {
            read.hash
                .is_none_or(|hash| read.kind.revalidate(self.server()) == hash)
        });
        self.state.reads = reads;
        self.state.conflict = !hold;
        hold
    }

    /// Hashes the results of all reads, before the call leaves the main thread.
    pub(crate) fn hash_reads(&mut self) {
        let mut reads = std::mem::take(&mut self.state.reads);
        for read in &mut reads {
            if read.hash.is_none() {
                read.hash = Some(read.kind.revalidate(self.server()));
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
