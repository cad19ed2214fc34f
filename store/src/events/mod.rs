//! Events: what commands do to keys, by the names that keyspace notifications have in Redis.
//!
//! A view records the changes of a command, and [`names`] turns them into events. They are handed to
//! the observer when the command, or the transaction, has committed, still under its locks: so the
//! events of a key come in the order of its changes. Without an observer nothing is recorded.

pub(crate) mod capture;
pub(crate) mod names;

use ferrite_protocol::events::{EventSink, EventValue, KeyspaceEvent};
use ferrite_protocol::record::Record;

use crate::events::capture::Captured;
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
    /// True if the sink wants events, with the values of their keys.
    captures: bool,
    /// The values, before the running command, of the wanted keys that it changed.
    before: Vec<(u32, Blob, Option<Value>)>,
    captured: Vec<Captured>,
    /// Number of events whose values are captured, if they are wanted.
    settled: usize,
}

impl Recorder {
    /// Creates a recorder; `captures` is true if the sink wants events.
    pub(crate) fn new(captures: bool) -> Self {
        Self {
            captures,
            ..Self::default()
        }
    }

    /// Returns true if the value of a key has to be remembered before the running command changes it.
    pub(crate) fn must_remember(&self, sink: &dyn EventSink, database: u32, key: &[u8]) -> bool {
        let known = |(other, name, _): &(u32, Blob, Option<Value>)| {
            *other == database && name.as_slice() == key
        };
        self.captures && sink.wants(database, key) && !self.before.iter().any(known)
    }

    /// Remembers what a key held before the running command.
    pub(crate) fn remember(&mut self, database: u32, key: &[u8], value: Option<Value>) {
        self.before.push((database, Blob::new(key), value));
    }

    /// Turns removals of what has expired, which no command named, into events.
    pub(crate) fn name_expiry(&mut self) {
        if !self.captures {
            return;
        }
        for (database, key, change) in std::mem::take(&mut self.changes) {
            if let Some((class, name)) = names::of_expiry(change) {
                self.events.push((database, key, class, name));
            }
        }
    }

    /// Adds the values to the events of the command that has just run, and forgets what was remembered.
    /// `now` returns what a key holds now.
    pub(crate) fn capture(&mut self, mut now: impl FnMut(u32, &[u8]) -> Option<Value>) {
        let mut before = std::mem::take(&mut self.before);
        let start = std::mem::replace(&mut self.settled, self.events.len());
        if before.is_empty() {
            return;
        }
        for (at, (database, key, _, name)) in self.events.iter().enumerate().skip(start) {
            let known = before
                .iter_mut()
                .find(|(other, remembered, _)| other == database && remembered == key);
            let Some((_, _, value)) = known else {
                continue;
            };
            let expired = *name == "expired";
            self.captured.push(Captured {
                database: *database,
                key: key.clone(),
                name,
                old: value.clone(),
                new: if expired { None } else { now(*database, key) },
                at,
            });
            if expired {
                *value = None;
            }
        }
    }

    /// Returns true if the sink gets events of this commit.
    pub(crate) fn has_captured(&self) -> bool {
        !self.captured.is_empty()
    }

    /// Returns the records that the sink keeps of the events.
    pub(crate) fn records(&self, sink: &dyn EventSink, depth: u32) -> Vec<Record> {
        let mut records = Vec::new();
        self.each_captured(0, depth, &mut |event| sink.record(event, &mut records));
        records
    }

    /// Passes the events that the sink wants to `visit`, from number `from` on; returns their number.
    pub(crate) fn each_captured(
        &self,
        from: usize,
        depth: u32,
        visit: &mut dyn FnMut(&KeyspaceEvent<'_>),
    ) -> usize {
        for captured in self.captured.iter().skip(from) {
            visit(&KeyspaceEvent {
                database: captured.database,
                key: &captured.key,
                partition: 0,
                name: captured.name,
                old: captured.old.as_ref().map(|value| value as &dyn EventValue),
                new: captured.new.as_ref().map(|value| value as &dyn EventValue),
                depth,
            });
        }
        self.captured.len()
    }

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
        self.settled = self.settled.min(len);
        self.captured.retain(|captured| captured.at < len);
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
