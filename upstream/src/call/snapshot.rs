//! The engine's values at the keys of a call, as of one moment.

use std::sync::Arc;

use ferrite_store::{Held, Transaction};
use redis::Value;

/// The most that a value may have to be fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes of one value.
    pub value_bytes_max: u64,
    /// Bytes of all values of a call.
    pub values_bytes_max: u64,
    /// Elements of a collection.
    pub elements_max: u64,
    /// Fields of a hash that is fetched as a whole where only some fields may be needed.
    pub whole_fields_max: u64,
}

/// Keys of a call with what the engine held there.
#[derive(Debug, Default)]
pub(super) struct Snapshot {
    /// The engine's time, in milliseconds since 1970.
    pub(super) now: Option<i64>,
    pub(super) keys: Vec<Arc<Fetched>>,
}

/// One key.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fetched {
    pub(super) key: Box<[u8]>,
    /// In milliseconds since 1970; -1 for none, -2 if there is no such key.
    pub(super) deadline: i64,
    pub(super) content: FetchedContent,
}

/// A field of a hash, with its value if there is one.
pub(super) type FetchedField = (Box<[u8]>, Option<Vec<u8>>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum FetchedContent {
    Absent,
    Text(Vec<u8>),
    Dump(Vec<u8>),
    Fields(Vec<FetchedField>),
    /// There is a value, which is not fetched for this reason.
    Opaque {
        kind: String,
        len: i64,
        reason: String,
    },
}

impl FetchedContent {
    /// Returns the number of bytes of the value, as far as it is here.
    pub(super) fn bytes(&self) -> u64 {
        let bytes = match self {
            Self::Absent | Self::Opaque { .. } => 0,
            Self::Text(bytes) | Self::Dump(bytes) => bytes.len(),
            Self::Fields(fields) => {
                let values = fields.iter().filter_map(|(_, value)| value.as_ref());
                values.map(Vec::len).sum()
            }
        };
        bytes as u64
    }
}

impl Snapshot {
    /// Reads the reply of the fetch script. `fields` are those that were asked for, by key.
    pub(super) fn read(
        reply: Value,
        keys: impl Iterator<Item = (Box<[u8]>, Vec<Box<[u8]>>)>,
        bounds: &Bounds,
    ) -> Result<Self, &'static str> {
        let Value::Array(parts) = reply else {
            return Err("the fetch script answered no array");
        };
        let mut parts = parts.into_iter();
        let Some(Value::Int(now)) = parts.next() else {
            return Err("the fetch script answered no time");
        };
        let mut read = Vec::with_capacity(parts.len());
        for (key, fields) in keys {
            let Some(Value::Array(part)) = parts.next() else {
                return Err("the fetch script answered too few keys");
            };
            let (deadline, content) =
                content(part, fields, bounds).ok_or("the fetch script answered a malformed key")?;
            read.push(Arc::new(Fetched {
                key,
                deadline,
                content,
            }));
        }
        Ok(Self {
            now: Some(now),
            keys: read,
        })
    }

    /// Returns true if both have the same keys with the same values.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.keys == other.keys
    }

    /// Returns the number of bytes of all values.
    pub(super) fn bytes(&self) -> u64 {
        self.keys
            .iter()
            .map(|fetched| fetched.content.bytes())
            .sum()
    }

    /// Lays every key into an overlay.
    pub(super) fn lay(&self, transaction: &mut Transaction) {
        for fetched in &self.keys {
            let deadline = (fetched.deadline >= 0).then_some(fetched.deadline);
            let fields: Vec<(&[u8], Option<&[u8]>)>;
            let held = match &fetched.content {
                FetchedContent::Absent => Held::Nothing,
                FetchedContent::Text(text) => Held::Text(text),
                FetchedContent::Dump(payload) => Held::Dumped(payload),
                FetchedContent::Fields(read) => {
                    fields = read
                        .iter()
                        .map(|(field, value)| (&**field, value.as_deref()))
                        .collect();
                    Held::Fields(&fields)
                }
                FetchedContent::Opaque { reason, .. } => Held::Opaque(reason),
            };
            if let Err(unknown) = transaction.lay(&fetched.key, held, deadline) {
                let reason = format!("ERR {unknown}");
                // Only a payload can fail, and this is none.
                let _ = transaction.lay(&fetched.key, Held::Opaque(&reason), deadline);
            }
        }
    }
}

fn content(
    part: Vec<Value>,
    fields: Vec<Box<[u8]>>,
    bounds: &Bounds,
) -> Option<(i64, FetchedContent)> {
    let mut part = part.into_iter();
    let kind = text(part.next()?)?;
    let Value::Int(deadline) = part.next()? else {
        return None;
    };
    let content = match kind.as_str() {
        "none" => FetchedContent::Absent,
        "string" => FetchedContent::Text(bytes(part.next()?)?),
        "dump" => FetchedContent::Dump(bytes(part.next()?)?),
        "fields" => {
            let Value::Array(values) = part.next()? else {
                return None;
            };
            if values.len() != fields.len() {
                return None;
            }
            let mut read = Vec::with_capacity(fields.len());
            for (field, value) in fields.into_iter().zip(values) {
                let value = match value {
                    Value::Nil => None,
                    value => Some(bytes(value)?),
                };
                read.push((field, value));
            }
            FetchedContent::Fields(read)
        }
        "large" | "foreign" => {
            let held = text(part.next()?)?;
            let Value::Int(len) = part.next()? else {
                return None;
            };
            let reason = match kind.as_str() {
                "foreign" => reason_foreign(&held),
                _ => reason_large(&held, len, bounds),
            };
            FetchedContent::Opaque {
                kind: held,
                len,
                reason,
            }
        }
        _ => return None,
    };
    Some((deadline, content))
}

/// Returns the error about a value that functions cannot read for its type.
pub(super) fn reason_foreign(kind: &str) -> String {
    format!("ERR the key holds a value of type {kind}, which functions cannot read here")
}

/// Returns the error about a value that is too large.
pub(super) fn reason_large(kind: &str, len: i64, bounds: &Bounds) -> String {
    let Bounds {
        value_bytes_max,
        values_bytes_max,
        elements_max,
        whole_fields_max: _,
    } = bounds;
    if kind == "string" {
        return format!(
            "LIMIT the value has {len} bytes; a call of this server reads values of up to {value_bytes_max} bytes (upstream.max_value), and {values_bytes_max} bytes in all (upstream.max_fetch)"
        );
    }
    format!(
        "LIMIT the {kind} has {len} elements; a call of this server reads collections of up to {elements_max} elements (upstream.max_elements) and {value_bytes_max} bytes (upstream.max_value), and {values_bytes_max} bytes in all (upstream.max_fetch)"
    )
}

fn bytes(value: Value) -> Option<Vec<u8>> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        // The parser makes something of its own of these.
        Value::Okay => Some(b"OK".to_vec()),
        Value::SimpleString(text) => Some(text.into_bytes()),
        _ => None,
    }
}

fn text(value: Value) -> Option<String> {
    String::from_utf8(bytes(value)?).ok()
}
