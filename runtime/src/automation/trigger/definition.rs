//! A trigger as it is kept across restarts: JSON in a record of the host, `trigger/` and its name.

use ferrite_protocol::glob::Glob;
use serde::{Deserialize, Serialize};

use crate::automation::bytes::Bytes;
use crate::error::{CallError, Quoted};
use crate::registry::record::FunctionName;

/// Begins the names of the records of triggers.
pub(crate) const PREFIX: &[u8] = b"trigger/";

/// Stands for every event.
const EVERY_EVENT: &str = "*";

/// Longest name of an event, in bytes.
const EVENT_BYTES_MAX: usize = 64;

/// Most patterns, and most events, of one trigger.
pub(crate) const WORDS_MAX: usize = 64;

/// The time at which a trigger's function runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Phase {
    /// Inside the transaction that causes the event, which it can refuse.
    Before,
    /// After that transaction has committed.
    #[default]
    After,
}

impl Phase {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Before => "before",
            Self::After => "after",
        }
    }
}

/// A trigger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Trigger {
    pub(crate) name: FunctionName,
    /// `name` or `name.entry`.
    pub(crate) function: Bytes,
    /// Patterns of keys.
    pub(crate) keys: Vec<Bytes>,
    /// Names of events, or `*`.
    pub(crate) events: Vec<Box<str>>,
    #[serde(default)]
    pub(crate) phase: Phase,
    /// The database of the keys.
    pub(crate) database: u32,
    /// Time at which it was added.
    pub(crate) added: i64,
    /// True if the module of its function declares it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) declared: bool,
}

/// Returns true for a flag that records leave out.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes it so")]
pub(crate) const fn is_false(flag: &bool) -> bool {
    !*flag
}

impl Trigger {
    /// Returns the name of its record.
    pub(crate) fn record_name(&self) -> Vec<u8> {
        record_name(&self.name)
    }

    /// Returns the content of its record.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        // Its fields are numbers and texts, which JSON can hold.
        serde_json::to_vec(self).unwrap_or_default()
    }

    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(bytes)
    }

    /// Returns the patterns, prepared.
    ///
    /// # Errors
    ///
    /// A pattern is wrong.
    pub(crate) fn globs(&self) -> Result<Vec<Glob>, CallError> {
        let parse = |pattern: &Bytes| {
            Glob::parse(&pattern.0).map_err(|problem| {
                CallError::invalid(format!("KEYS: pattern {}: {problem}", Quoted(&pattern.0)))
            })
        };
        self.keys.iter().map(parse).collect()
    }

    /// Returns true if the module of this function declares it.
    pub(crate) fn is_declared_by(&self, function: &[u8]) -> bool {
        self.declared && function_of(&self.function) == function
    }

    /// Returns true if it does the same as another one of its name, whenever they were added.
    pub(crate) fn does_the_same(&self, other: &Self) -> bool {
        let Self {
            name,
            function,
            keys,
            events,
            phase,
            database,
            added: _,
            declared,
        } = self;
        (name, function, keys, events) == (&other.name, &other.function, &other.keys, &other.events)
            && (*phase, *database, *declared) == (other.phase, other.database, other.declared)
    }

    /// Returns true if it wants events of this name.
    pub(crate) fn wants_event(&self, event: &str) -> bool {
        let mut events = self.events.iter();
        events.any(|name| &**name == EVERY_EVENT || &**name == event)
    }
}

/// Returns the name of a function that may be followed by the name of an entry.
pub(crate) fn function_of(target: &Bytes) -> &[u8] {
    let mut parts = target.0.split(|&byte| byte == b'.');
    parts.next().unwrap_or_default()
}

pub(crate) fn record_name(name: &FunctionName) -> Vec<u8> {
    [PREFIX, name.as_bytes()].concat()
}

/// Checks the name of an event, and returns it in lower case.
pub(crate) fn event_name(word: &[u8]) -> Result<Box<str>, CallError> {
    let text = String::from_utf8_lossy(word).to_ascii_lowercase();
    let letters = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    let name = !text.is_empty() && text.len() <= EVENT_BYTES_MAX && text.bytes().all(letters);
    if text == EVERY_EVENT || name {
        Ok(text.into())
    } else {
        Err(CallError::invalid(format!(
            "EVENTS: {} is no name of an event; write such as set, del, expired, or * for every event",
            Quoted(word)
        )))
    }
}
