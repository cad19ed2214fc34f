//! An event that waits to be delivered, as its record holds it.
//!
//! The name of the record is `event/` and the number of the event, 16 hex digits; of an event that was
//! given up, `dead/` and the number. The value is a version (1 byte) and the fields in the order of
//! [`QueuedEvent`]. Integers are big-endian; a text has its length (u32) before it. A value of a key is a
//! byte (0: none, 1: its bytes follow, 2: it was too large), the name of its type, and the bytes.

use ferrite_protocol::events::EventValue;
use ferrite_protocol::record;

use crate::registry::record::FunctionName;

/// Begins the names of the records of events that wait.
pub(crate) const PREFIX: &[u8] = record::EVENT;

/// Begins the names of the records of events that were given up.
pub(crate) const DEAD_PREFIX: &[u8] = record::DEAD_EVENT;

/// Most bytes of a value that a function gets; of a larger one it gets the type alone.
pub(crate) const VALUE_BYTES_MAX: usize = 64 << 10;

/// Age from which on the trigger of an event, if there is one, is known on every server: definitions travel for
/// about two seconds.
const YOUNG_MILLIS: u64 = 10_000;

const VERSION: u8 = 1;

/// The value of a key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum HeldValue {
    /// Nothing.
    #[default]
    None,
    /// This value.
    Bytes {
        type_name: Box<str>,
        bytes: Box<[u8]>,
    },
    /// A value of more than [`VALUE_BYTES_MAX`].
    Large,
}

/// An event, for one trigger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct QueuedEvent {
    pub(crate) trigger: Box<[u8]>,
    pub(crate) database: u32,
    pub(crate) key: Box<[u8]>,
    pub(crate) event: Box<str>,
    /// Number of events in a row that led to this one.
    pub(crate) depth: u32,
    /// Time at which it happened, in milliseconds since 1970.
    pub(crate) at: i64,
    pub(crate) old: HeldValue,
    pub(crate) new: HeldValue,
    /// The last error of an event that was given up.
    pub(crate) error: Box<str>,
}

impl HeldValue {
    pub(crate) fn of(value: Option<&dyn EventValue>) -> Self {
        let Some(value) = value else {
            return Self::None;
        };
        match value.to_bytes(VALUE_BYTES_MAX) {
            Some(bytes) => Self::Bytes {
                type_name: value.type_name().into(),
                bytes: bytes.into(),
            },
            None => Self::Large,
        }
    }

    /// Returns the words by which a function gets the value: its type and its bytes. `may_read` returns true for
    /// types of which the function may read values.
    pub(crate) fn words(&self, may_read: &dyn Fn(&str) -> bool) -> [&[u8]; 2] {
        match self {
            Self::None => [b"none", b""],
            Self::Bytes { type_name, .. } if !may_read(type_name) => [b"denied", b""],
            Self::Bytes { type_name, bytes } => [type_name.as_bytes(), bytes],
            Self::Large => [b"large", b""],
        }
    }
}

/// Returns the name of the record of event `number`.
pub(crate) fn record_name(prefix: &[u8], number: u64) -> Vec<u8> {
    [prefix, format!("{number:016x}").as_bytes()].concat()
}

/// Returns the number of the event whose record has this name.
pub(crate) fn number_of(prefix: &[u8], name: &[u8]) -> Option<u64> {
    let digits = std::str::from_utf8(name.strip_prefix(prefix)?).ok()?;
    u64::from_str_radix(digits, 16).ok()
}

impl QueuedEvent {
    /// Returns true if it is so young that its trigger may still be on its way here from another server.
    pub(crate) fn may_precede_its_trigger(&self, now: i64) -> bool {
        self.at.abs_diff(now) < YOUNG_MILLIS
    }

    /// Returns the content of its record.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let Self {
            trigger,
            database,
            key,
            event,
            depth,
            at,
            old,
            new,
            error,
        } = self;
        let mut bytes = vec![VERSION];
        put(&mut bytes, trigger);
        bytes.extend_from_slice(&database.to_be_bytes());
        put(&mut bytes, key);
        put(&mut bytes, event.as_bytes());
        bytes.extend_from_slice(&depth.to_be_bytes());
        bytes.extend_from_slice(&at.to_be_bytes());
        for value in [old, new] {
            let tag = match value {
                HeldValue::None => 0,
                HeldValue::Bytes { .. } => 1,
                HeldValue::Large => 2,
            };
            bytes.push(tag);
            if let HeldValue::Bytes {
                type_name,
                bytes: held,
            } = value
            {
                put(&mut bytes, type_name.as_bytes());
                put(&mut bytes, held);
            }
        }
        put(&mut bytes, error.as_bytes());
        bytes
    }

    /// Returns the arguments that a function gets. `may_read` returns true for types of which it may read
    /// values.
    pub(crate) fn args<'a>(
        &'a self,
        trigger: &'a FunctionName,
        number: &'a [u8],
        attempt: &'a [u8],
        at: &'a [u8],
        may_read: &dyn Fn(&str) -> bool,
    ) -> [&'a [u8]; 9] {
        let [old_type, old] = self.old.words(may_read);
        let [new_type, new] = self.new.words(may_read);
        [
            self.event.as_bytes(),
            old_type,
            old,
            new_type,
            new,
            trigger.as_bytes(),
            number,
            attempt,
            at,
        ]
    }

    /// Reads the content of a record; `None` if it is damaged.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes.strip_prefix(&[VERSION])?;
        let parsed = Self {
            trigger: take(&mut rest)?.into(),
            database: u32::from_be_bytes(take_array(&mut rest)?),
            key: take(&mut rest)?.into(),
            event: take_text(&mut rest)?,
            depth: u32::from_be_bytes(take_array(&mut rest)?),
            at: i64::from_be_bytes(take_array(&mut rest)?),
            old: take_value(&mut rest)?,
            new: take_value(&mut rest)?,
            error: take_text(&mut rest)?,
        };
        rest.is_empty().then_some(parsed)
    }
}

/// Reads trigger, database and key alone, which stand first; `None` if they are damaged.
pub(crate) fn lane_of(bytes: &[u8]) -> Option<(&[u8], u32, &[u8])> {
    let mut rest = bytes.strip_prefix(&[VERSION])?;
    let trigger = take(&mut rest)?;
    let database = u32::from_be_bytes(take_array(&mut rest)?);
    Some((trigger, database, take(&mut rest)?))
}

fn put(into: &mut Vec<u8>, bytes: &[u8]) {
    // Keys and values are bounded by the length of a request's argument, 512 MB.
    into.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
    into.extend_from_slice(bytes);
}

fn take<'r>(rest: &mut &'r [u8]) -> Option<&'r [u8]> {
    let len = u32::from_be_bytes(take_array(rest)?) as usize;
    let (bytes, after) = rest.split_at_checked(len)?;
    *rest = after;
    Some(bytes)
}

fn take_array<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (bytes, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(*bytes)
}

fn take_text(rest: &mut &[u8]) -> Option<Box<str>> {
    std::str::from_utf8(take(rest)?).ok().map(Box::from)
}

fn take_value(rest: &mut &[u8]) -> Option<HeldValue> {
    let [tag] = take_array(rest)?;
    Some(match tag {
        0 => HeldValue::None,
        1 => HeldValue::Bytes {
            type_name: take_text(rest)?,
            bytes: take(rest)?.into(),
        },
        2 => HeldValue::Large,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::{HeldValue, QueuedEvent, lane_of, number_of, record_name};

    #[test]
    fn an_event_is_read_as_it_was_written_and_damage_is_noticed() {
        let event = QueuedEvent {
            trigger: b"t".as_slice().into(),
            database: 7,
            key: [0, 255].into(),
            event: "expired".into(),
            depth: 2,
            at: -5,
            old: HeldValue::Bytes {
                type_name: "string".into(),
                bytes: b"value".as_slice().into(),
            },
            new: HeldValue::Large,
            error: "TRAP".into(),
        };
        let bytes = event.to_bytes();
        for (now, is_young) in [(-5, true), (9_994, true), (9_995, false), (i64::MIN, false)] {
            assert_eq!(event.may_precede_its_trigger(now), is_young, "{now}");
        }
        assert_eq!(QueuedEvent::parse(&bytes), Some(event));
        assert_eq!(lane_of(&bytes), Some((&b"t"[..], 7, &[0, 255][..])));
        for len in 0..bytes.len() {
            assert_eq!(QueuedEvent::parse(&bytes[..len]), None, "{len}");
        }
        assert_eq!(QueuedEvent::parse(&[&*bytes, &[0]].concat()), None);
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut changed = bytes.clone();
                changed[at] ^= 1 << bit;
                let _ = lane_of(&changed);
                let again = QueuedEvent::parse(&changed).map(|event| event.to_bytes());
                assert!(again.is_none_or(|again| again == changed), "{at} {bit}");
            }
        }
    }

    #[test]
    fn numbers_are_in_the_order_of_their_names() {
        let names: Vec<_> = [1, 9, 10, 255, u64::MAX]
            .map(|n| record_name(b"event/", n))
            .into();
        assert!(names.is_sorted());
        assert_eq!(number_of(b"event/", &names[3]), Some(255));
        assert_eq!(number_of(b"dead/", &names[3]), None);
    }
}
