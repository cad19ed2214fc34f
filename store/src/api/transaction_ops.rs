//! Operations with typed arguments and results, for callers that speak no RESP.

use crate::commands::hashes;
use crate::commands::keys::expiry;
use crate::commands::strings::{self, counters};
use crate::commands::strings::{Condition, Lifetime};
use crate::commands::table;
use crate::error::StoreError;
use crate::execution::view::View as _;
use crate::keyspace::deadline::Deadline;
use crate::transaction::view::Within;
use crate::transaction::{Mode, Transaction};
use crate::value::Hash;
use crate::value::text::Text;
use ferrite_protocol::reply_writer::ReplyWriter;

/// When [`Transaction::set`] stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetCondition {
    /// Whatever the key holds.
    Always,
    /// Only if the key is not there.
    IfAbsent,
    /// Only if the key is there.
    IfPresent,
}

/// What [`Transaction::set`] does about the key's time to live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetExpiry {
    /// The key stays until it is removed.
    None,
    /// As it was.
    Keep,
    /// The key ends so many milliseconds from now; at least one.
    AfterMillis(i64),
}

/// How long a key has to live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ttl {
    /// So many milliseconds.
    Millis(i64),
    /// Until it is removed.
    NoExpiry,
    /// It is not there.
    NoKey,
}

fn all(_: &[u8]) -> bool {
    true
}

/// All of these fail with [`StoreError::Conflict`] once the transaction cannot commit any more,
/// with [`StoreError::WrongType`] when the key holds another type, and the writing ones with
/// [`StoreError::ReadOnly`] in a transaction that only reads.
impl Transaction {
    /// Runs any data command and writes its one reply, which may be an error.
    ///
    /// `visible` tells which keys `KEYS`, `SCAN` and `RANDOMKEY` may show. Commands that would
    /// block answer at once, as they do inside `MULTI`.
    pub fn execute(
        &mut self,
        argv: &[&[u8]],
        visible: &dyn Fn(&[u8]) -> bool,
        out: &mut dyn ReplyWriter,
    ) {
        if let Err(error) = self.try_execute(argv, visible, out) {
            out.error(&error.to_string());
        }
    }

    fn try_execute(
        &mut self,
        argv: &[&[u8]],
        visible: &dyn Fn(&[u8]) -> bool,
        out: &mut dyn ReplyWriter,
    ) -> Result<(), StoreError> {
        let command = table::checked(argv)?;
        if command.spec().is_write() {
            if self.mode == Mode::Read {
                return Err(StoreError::ReadOnly);
            }
            self.written_bytes += argv.iter().map(|argument| argument.len()).sum::<usize>();
        }
        command.run_within(&mut Within::new(self, visible), argv, out)
    }

    fn view(&mut self) -> Within<'_> {
        Within::new(self, &all)
    }

    /// Hands the string at `key` to `read`; `None` if the key is not there.
    ///
    /// # Errors
    /// See above.
    pub fn get<R>(
        &mut self,
        key: &[u8],
        read: impl FnOnce(&[u8]) -> R,
    ) -> Result<Option<R>, StoreError> {
        Ok(self
            .view()
            .read::<Text>(key)?
            .map(|text| read(text.as_slice())))
    }

    /// Stores a string; tells whether the condition held.
    ///
    /// # Errors
    /// See above; [`StoreError::InvalidExpire`] for a time to live that is not above zero or ends
    /// beyond the range of 64 bits; [`StoreError::StringTooLong`].
    pub fn set(
        &mut self,
        key: &[u8],
        value: &[u8],
        condition: SetCondition,
        expiry: SetExpiry,
    ) -> Result<bool, StoreError> {
        if value.len() > self.core.limits.string_bytes_max {
            return Err(StoreError::StringTooLong);
        }
        let condition = match condition {
            SetCondition::Always => Condition::Always,
            SetCondition::IfAbsent => Condition::IfAbsent,
            SetCondition::IfPresent => Condition::IfPresent,
        };
        let lifetime = match expiry {
            SetExpiry::None => Lifetime::Until(Deadline::NEVER),
            SetExpiry::Keep => Lifetime::Keep,
            SetExpiry::AfterMillis(millis) => {
                let instant = (millis > 0)
                    .then(|| self.now_millis().checked_add(millis))
                    .flatten()
                    .ok_or(StoreError::InvalidExpire("set"))?;
                Lifetime::Until(Deadline::at(instant))
            }
        };
        self.written_bytes += key.len() + value.len();
        strings::store(&mut self.view(), key, value, condition, lifetime)
    }

    /// Removes a key of any type; tells whether it was there.
    ///
    /// # Errors
    /// See above.
    pub fn delete(&mut self, key: &[u8]) -> Result<bool, StoreError> {
        self.view().remove(key)
    }

    /// Whether a key is there.
    ///
    /// # Errors
    /// See above.
    pub fn exists(&mut self, key: &[u8]) -> Result<bool, StoreError> {
        self.view().exists(key)
    }

    /// Adds to the integer at `key`, 0 if it is not there; returns the sum.
    ///
    /// # Errors
    /// See above; [`StoreError::NotAnInteger`], [`StoreError::Overflow`].
    pub fn increment(&mut self, key: &[u8], delta: i64) -> Result<i64, StoreError> {
        self.written_bytes += key.len() + size_of::<i64>();
        counters::add(&mut self.view(), key, delta)
    }

    /// Lets a key end in `ttl_millis` milliseconds, or at once if that is not above zero; tells
    /// whether the key was there.
    ///
    /// # Errors
    /// See above; [`StoreError::InvalidExpire`] beyond the range of 64 bits.
    pub fn expire(&mut self, key: &[u8], ttl_millis: i64) -> Result<bool, StoreError> {
        let instant = self
            .now_millis()
            .checked_add(ttl_millis)
            .ok_or(StoreError::InvalidExpire("pexpire"))?;
        expiry::end_at(&mut self.view(), key, Deadline::at(instant))
    }

    /// How long a key has to live.
    ///
    /// # Errors
    /// See above.
    pub fn ttl(&mut self, key: &[u8]) -> Result<Ttl, StoreError> {
        let deadline = self.view().get(key)?.map(|live| live.deadline.millis());
        Ok(match deadline {
            None => Ttl::NoKey,
            Some(None) => Ttl::NoExpiry,
            Some(Some(deadline)) => Ttl::Millis(deadline - self.now_millis()),
        })
    }

    /// Hands a field of the hash at `key` to `read`; `None` if there is no such field.
    ///
    /// # Errors
    /// See above.
    pub fn hash_get<R>(
        &mut self,
        key: &[u8],
        field: &[u8],
        read: impl FnOnce(&[u8]) -> R,
    ) -> Result<Option<R>, StoreError> {
        let value = self
            .view()
            .read::<Hash>(key)?
            .and_then(|hash| hash.get(field))
            .map(|v| read(v));
        Ok(value)
    }

    /// Sets a field of the hash at `key`; tells whether the field is new.
    ///
    /// # Errors
    /// See above.
    pub fn hash_set(&mut self, key: &[u8], field: &[u8], value: &[u8]) -> Result<bool, StoreError> {
        self.written_bytes += key.len() + field.len() + value.len();
        Ok(hashes::set_fields(&mut self.view(), key, &[field, value])? == 1)
    }

    /// Removes a field of the hash at `key`; tells whether it was there.
    ///
    /// # Errors
    /// See above.
    pub fn hash_delete(&mut self, key: &[u8], field: &[u8]) -> Result<bool, StoreError> {
        Ok(hashes::remove_fields(&mut self.view(), key, &[field])? == 1)
    }
}
