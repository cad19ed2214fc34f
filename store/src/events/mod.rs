//! Events: what commands do to keys, by the names that keyspace notifications have in Redis.
//!
//! A view records the changes of a command, and [`names`] turns them into events. They are handed to
//! the observer when the command, or the transaction, has committed, still under its locks: so the
//! events of a key come in the order of its changes. Without an observer nothing is recorded.

pub(crate) mod names;

use crate::value::Value;
use crate::value::blob::Blob;

/// The class of an event, which decides who is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventClass {
    /// Events of keys of any type, such as `del`, `expire`, `rename_to`.
    Generic,
    /// Commands on strings.
    String,
    /// Commands on lists.
    List,
    /// Commands on sets.
    Set,
    /// Commands on hashes.
    Hash,
    /// Commands on sorted sets.
    Zset,
    /// A key has expired.
    Expired,
}

/// Something that happened to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyEvent<'k> {
    /// The database of the key.
    pub database: u32,
    /// The key.
    pub key: &'k [u8],
    /// The class of the event.
    pub class: EventClass,
    /// Its name, such as `lpush`.
    pub name: &'static str,
}

/// Is told of every event.
pub trait Observer: Send + Sync {
    /// Takes an event of a commit that has happened.
    ///
    /// The store's locks are held: this must be short and may not use the store.
    fn observe(&self, event: KeyEvent<'_>);
}

/// A change of a key, before it has a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// It was created or changed, and holds this class of value.
    Written(EventClass),
    /// It got another deadline, or lost it.
    Deadline,
    Removed,
    Expired,
    /// Fields of a hash have expired.
    FieldsExpired,
}

impl Change {
    pub(crate) fn written(value: &Value) -> Self {
        Self::Written(match value {
            Value::Text(_) => EventClass::String,
            Value::List(_) => EventClass::List,
            Value::Hash(_) => EventClass::Hash,
            Value::Set(_) => EventClass::Set,
            Value::Zset(_) => EventClass::Zset,
        })
    }
}

/// The changes of the running command, and the events of those before it in the same commit.
#[derive(Clone, Debug, Default)]
pub(crate) struct Recorder {
    changes: Vec<(u32, Blob, Change)>,
    events: Vec<(u32, Blob, EventClass, &'static str)>,
}

impl Recorder {
    pub(crate) fn record(&mut self, database: u32, key: &[u8], change: Change) {
        self.changes.push((database, Blob::new(key), change));
    }

    /// Turns the changes into events of a command that ran at `now`.
    pub(crate) fn name(&mut self, command: &str, argv: &[&[u8]], now: i64) {
        if !self.changes.is_empty() {
            let changes = std::mem::take(&mut self.changes);
            names::name(command, argv, now, changes, &mut self.events);
        }
    }

    /// Number of events so far.
    pub(crate) fn len(&self) -> usize {
        self.events.len()
    }

    /// Forgets later events.
    pub(crate) fn truncate(&mut self, len: usize) {
        self.events.truncate(len);
    }

    /// Tells everything to an observer. Changes without a name are not told, but for expiry.
    pub(crate) fn tell(&self, observer: &dyn Observer) {
        let expired = self.changes.iter().filter_map(|(database, key, change)| {
            let (class, name) = names::of_expiry(*change)?;
            Some((database, key, class, name))
        });
        let named = self
            .events
            .iter()
            .map(|(database, key, class, name)| (database, key, *class, *name));
        for (database, key, class, name) in expired.chain(named) {
            observer.observe(KeyEvent {
                database: *database,
                key,
                class,
                name,
            });
        }
    }
}
