//! Overlays as a host uses them: lay in what another engine holds, run, and get the commands that
//! bring the engine's data to the same state.

use ferrite_protocol::keyspace::Mode;
use ferrite_protocol::record::Record;

use crate::api::store::Store;
use crate::error::StoreError;
use crate::rdb;
use crate::transaction::Transaction;
use crate::transaction::overlay::{Content, Laid, Overlay, Written};
use crate::value::blob::Blob;
use crate::value::deadline::Deadline;
use crate::value::list::List;
use crate::value::zset::Zset;
use crate::value::{Hash, Set, Value};

/// Most words of a command that writes elements.
const WORDS_MAX: usize = 1000;

/// Most elements at the ends of a list by which it is recognised as shifted.
const SHIFT_MAX: usize = 64;

/// Most elements of a list that are set one by one.
const SETS_MAX: usize = 16;

/// A field that stands for those of a hash that were not laid in. It is never read or written.
const OTHER_FIELDS: &[u8] = b"\0the fields that were not asked for\0";

/// The value that an engine holds at a key.
#[derive(Clone, Copy, Debug)]
pub enum Held<'a> {
    /// No such key.
    Nothing,
    /// A string.
    Text(&'a [u8]),
    /// A value of any type, as `DUMP` returns it.
    Dumped(&'a [u8]),
    /// These fields of a hash that has more of them; `None` for a field that it does not have.
    Fields(&'a [(&'a [u8], Option<&'a [u8]>)]),
    /// A value that is not here, for this reason, which is the error of commands that look at it. The
    /// key can be removed, replaced or given a deadline.
    Opaque(&'a str),
}

/// A payload of `DUMP` could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the value has a type or an encoding that functions cannot read")]
pub struct UnknownEncoding;

/// A command, as its words.
pub type Words = Vec<Vec<u8>>;

impl Store {
    /// Begins a transaction that reads nothing of this store: its host lays in what it may read.
    ///
    /// An access to anything else is in [`Transaction::missing`] afterwards, and makes the transaction
    /// lost. With `gathers`, such keys read as absent until then, so that one run finds many.
    pub fn begin_overlay(
        &self,
        database: u32,
        mode: Mode,
        now_millis: i64,
        gathers: bool,
    ) -> Transaction {
        let mut transaction = Transaction::new(self.core.clone(), database, mode);
        transaction.overlay = Some(Box::new(Overlay::new(database, gathers)));
        transaction.set_now(now_millis);
        transaction
    }
}

impl Transaction {
    /// Lays in a key with its deadline, before the first access. Does nothing if it was laid in.
    ///
    /// # Errors
    /// [`UnknownEncoding`].
    pub fn lay(
        &mut self,
        key: &[u8],
        held: Held<'_>,
        deadline_millis: Option<i64>,
    ) -> Result<(), UnknownEncoding> {
        if self.is_laid_in(key) {
            return Ok(());
        }
        let (value, content) = match held {
            Held::Nothing => (None, Content::Whole),
            Held::Text(text) => (Some(Value::text(text)), Content::Whole),
            Held::Dumped(payload) => {
                let now = self.now();
                let bytes_max = self.core.limits.string_bytes_max;
                let value = rdb::restore(payload, now, bytes_max).map_err(|_| UnknownEncoding)?;
                (Some(value), Content::Whole)
            }
            Held::Fields(fields) => {
                let mut hash = Hash::default();
                hash.insert(OTHER_FIELDS, Blob::default());
                for (field, value) in fields {
                    if let Some(value) = value {
                        hash.insert(field, Blob::new(value));
                    }
                }
                let known = fields.iter().map(|(field, _)| Blob::new(field)).collect();
                (Some(hash.into()), Content::Fields(known))
            }
            Held::Opaque(reason) => (Some(Value::text(b"")), Content::Opaque(reason.into())),
        };
        let deadline = deadline_millis.map_or(Deadline::NEVER, Deadline::at);
        let expired = deadline.has_passed(self.now());
        self.lay_in(
            key,
            Laid {
                value: value.filter(|_| !expired),
                deadline,
                content,
            },
        );
        Ok(())
    }

    /// Returns the records of the host that the transaction would set.
    pub fn kept_records(&self) -> Vec<Record> {
        let set = self.records.iter().filter_map(|change| {
            let value = change.value.as_ref()?;
            Some((change.name.to_vec().into(), value.to_vec().into()))
        });
        set.collect()
    }

    /// Ends an overlay and returns the commands that do to the engine's data what the transaction did,
    /// provided that it is as it was laid in. None of them fails then for what a key holds.
    ///
    /// # Errors
    /// The transaction has written to another database.
    pub fn into_commands(self) -> Result<Vec<Words>, StoreError> {
        let mut commands = Vec::new();
        for written in self.into_written()? {
            write(&written, &mut commands);
        }
        Ok(commands)
    }
}

fn words(words: &[&[u8]]) -> Words {
    words.iter().map(|word| word.to_vec()).collect()
}

/// Writes commands of one name about one key, each with some of the elements.
struct Elements<'a> {
    name: &'static str,
    key: &'a [u8],
    words: Words,
    commands: &'a mut Vec<Words>,
}

impl<'a> Elements<'a> {
    fn new(name: &'static str, key: &'a [u8], commands: &'a mut Vec<Words>) -> Self {
        Self {
            name,
            key,
            words: Words::new(),
            commands,
        }
    }

    /// Adds words that belong together.
    fn add(&mut self, words: &[&[u8]]) {
        if self.words.len() + words.len() > WORDS_MAX {
            self.flush();
        }
        if self.words.is_empty() {
            self.words.push(self.name.into());
            self.words.push(self.key.to_vec());
        }
        self.words.extend(words.iter().map(|word| word.to_vec()));
    }

    fn flush(&mut self) {
        if !self.words.is_empty() {
            self.commands.push(std::mem::take(&mut self.words));
        }
    }
}

impl Drop for Elements<'_> {
    fn drop(&mut self) {
        self.flush();
    }
}

fn write(written: &Written, commands: &mut Vec<Words>) {
    let Written {
        key,
        laid,
        value,
        deadline,
        replaced,
    } = written;
    let absent = laid.as_ref().is_some_and(|laid| laid.value.is_none());
    let Some(value) = value else {
        if !absent {
            commands.push(words(&[b"DEL", key]));
        }
        return;
    };
    let mut held = laid.as_ref().filter(|_| !absent);
    if *replaced {
        // A hash that was removed and made anew has not those of its fields that were never laid in.
        let base = held.and_then(|laid| laid.value.as_ref());
        let base = base.filter(|base| has_other_fields(base) == has_other_fields(value));
        if !change(key, base, value, commands) {
            if laid.is_none() || held.is_some() {
                commands.push(words(&[b"DEL", key]));
            }
            write_whole(key, value, commands);
            held = None;
        }
        if matches!(value, Value::Text(_)) {
            held = None;
        }
    }
    let before = held.map_or(Deadline::NEVER, |laid| laid.deadline);
    if before != *deadline {
        match deadline.millis() {
            Some(millis) => {
                let millis = millis.to_string();
                commands.push(words(&[b"PEXPIREAT", key, millis.as_bytes()]));
            }
            None => commands.push(words(&[b"PERSIST", key])),
        }
    }
}

/// Returns true for a hash that stands for more fields than it holds.
fn has_other_fields(value: &Value) -> bool {
    matches!(value, Value::Hash(hash) if hash.data.contains(OTHER_FIELDS))
}

/// Writes commands that make `new` of `old`; returns false if the value has to be written anew.
fn change(key: &[u8], old: Option<&Value>, new: &Value, commands: &mut Vec<Words>) -> bool {
    match (old, new) {
        (_, Value::Text(text)) => {
            commands.push(words(&[b"SET", key, text.as_slice()]));
            true
        }
        (Some(Value::Hash(old)), Value::Hash(new)) => {
            change_hash(key, &old.data, &new.data, commands);
            true
        }
        (Some(Value::Set(old)), Value::Set(new)) => {
            change_set(key, &old.data, &new.data, commands);
            true
        }
        (Some(Value::Zset(old)), Value::Zset(new)) => {
            change_zset(key, &old.data, &new.data, commands);
            true
        }
        (Some(Value::List(old)), Value::List(new)) => {
            change_list(key, &old.data, &new.data, commands)
        }
        _ => false,
    }
}

fn write_whole(key: &[u8], value: &Value, commands: &mut Vec<Words>) {
    match value {
        Value::Text(text) => commands.push(words(&[b"SET", key, text.as_slice()])),
        Value::List(list) => push("RPUSH", key, list.data.iter(), commands),
        Value::Hash(hash) => change_hash(key, &Hash::default(), &hash.data, commands),
        Value::Set(set) => change_set(key, &Set::default(), &set.data, commands),
        Value::Zset(zset) => change_zset(key, &Zset::default(), &zset.data, commands),
    }
}

/// Additions come first: a collection that was emptied on the way would lose its deadline.
fn change_hash(key: &[u8], old: &Hash, new: &Hash, commands: &mut Vec<Words>) {
    let mut set = Elements::new("HSET", key, commands);
    let mut timed = Vec::new();
    for (field, value) in new.iter() {
        let rewritten = old.get(field).is_none_or(|old| **old != **value);
        if rewritten {
            set.add(&[field, value]);
        }
        // `HSET` takes a field's deadline away.
        let before = match rewritten {
            true => Deadline::NEVER,
            false => old.deadline(field),
        };
        if before != new.deadline(field) {
            timed.push((field, new.deadline(field)));
        }
    }
    drop(set);
    for (field, deadline) in timed {
        match deadline.millis() {
            Some(millis) => {
                let millis = millis.to_string();
                let at = millis.as_bytes();
                commands.push(words(&[b"HPEXPIREAT", key, at, b"FIELDS", b"1", field]));
            }
            None => commands.push(words(&[b"HPERSIST", key, b"FIELDS", b"1", field])),
        }
    }
    let mut removed = Elements::new("HDEL", key, commands);
    for (field, _) in old.iter() {
        if !new.contains(field) {
            removed.add(&[field]);
        }
    }
}

fn change_set(key: &[u8], old: &Set, new: &Set, commands: &mut Vec<Words>) {
    let mut added = Elements::new("SADD", key, commands);
    for (member, ()) in new.iter() {
        if !old.contains(member) {
            added.add(&[member]);
        }
    }
    drop(added);
    let mut removed = Elements::new("SREM", key, commands);
    for (member, ()) in old.iter() {
        if !new.contains(member) {
            removed.add(&[member]);
        }
    }
}

fn change_zset(key: &[u8], old: &Zset, new: &Zset, commands: &mut Vec<Words>) {
    let mut added = Elements::new("ZADD", key, commands);
    for (member, score) in new.iter() {
        if old.score(member) != Some(score) {
            // In this form every double is read back as the same one.
            added.add(&[format!("{score:e}").as_bytes(), member]);
        }
    }
    drop(added);
    let mut removed = Elements::new("ZREM", key, commands);
    for (member, _) in old.iter() {
        if new.score(member).is_none() {
            removed.add(&[member]);
        }
    }
}

fn push<'e>(
    name: &'static str,
    key: &[u8],
    elements: impl Iterator<Item = &'e Blob>,
    commands: &mut Vec<Words>,
) {
    let mut pushed = Elements::new(name, key, commands);
    elements.for_each(|element| pushed.add(&[element]));
}

/// Recognises what is done to lists most: pushes and pops at the ends, and elements that are set.
fn change_list(key: &[u8], old: &List, new: &List, commands: &mut Vec<Words>) -> bool {
    let trim = |start: i64, stop: i64| {
        let (start, stop) = (start.to_string(), stop.to_string());
        words(&[b"LTRIM", key, start.as_bytes(), stop.as_bytes()])
    };
    let (before, now) = (old.len(), new.len());
    for shift in 0..=SHIFT_MAX.min(before.saturating_sub(1)) {
        let kept = before - shift;
        if kept > now {
            continue;
        }
        // Taken from the front, added at the end.
        if same(old.range(shift, before), new.range(0, kept)) {
            if shift > 0 {
                commands.push(trim(shift as i64, -1));
            }
            push("RPUSH", key, new.range(kept, now), commands);
            return true;
        }
        // Taken from the end, added at the front.
        if same(old.range(0, kept), new.range(now - kept, now)) {
            if shift > 0 {
                commands.push(trim(0, kept as i64 - 1));
            }
            push("LPUSH", key, new.range(0, now - kept).rev(), commands);
            return true;
        }
    }
    if now < before {
        if same(old.range(0, now), new.iter()) {
            commands.push(trim(0, now as i64 - 1));
            return true;
        }
        if same(old.range(before - now, before), new.iter()) {
            commands.push(trim((before - now) as i64, -1));
            return true;
        }
    }
    if now == before {
        let differing: Vec<usize> = old
            .iter()
            .zip(new.iter())
            .enumerate()
            .filter(|(_, (old, new))| old.as_slice() != new.as_slice())
            .map(|(at, _)| at)
            .take(SETS_MAX + 1)
            .collect();
        if differing.len() <= SETS_MAX {
            for at in differing {
                let Some(element) = new.get(at) else { continue };
                let at = at.to_string();
                commands.push(words(&[b"LSET", key, at.as_bytes(), element]));
            }
            return true;
        }
    }
    false
}

fn same<'e>(
    one: impl ExactSizeIterator<Item = &'e Blob>,
    other: impl ExactSizeIterator<Item = &'e Blob>,
) -> bool {
    one.len() == other.len()
        && one
            .zip(other)
            .all(|(one, other)| one.as_slice() == other.as_slice())
}
