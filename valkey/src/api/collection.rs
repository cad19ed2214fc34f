//! The value of an open key of any type, as functions of triggers get it.

#![allow(unsafe_code, reason = "goes through the elements of open keys")]

use std::ffi::{c_long, c_void};

use ferrite_protocol::events::EventValue;
use ferrite_protocol::number::{format_double, parse_double};
use ferrite_protocol::resp::Encoder;

use crate::api::context::Context;
use crate::api::ffi::{self, Cursor, Key, RmString, api};
use crate::api::key::OpenKey;
use crate::api::panic_guard::guard;
use crate::api::string::{Borrowed, Owned};

/// A value that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HeldValue {
    type_name: &'static str,
    /// `None` if it was too large.
    bytes: Option<Vec<u8>>,
}

impl HeldValue {
    /// Stands for a value that the server does not tell.
    pub(crate) const UNKNOWN: Self = Self {
        type_name: "unknown",
        bytes: Some(Vec::new()),
    };

    /// Returns true if this is a collection without elements, which a command has emptied.
    pub(crate) fn is_emptied(&self) -> bool {
        self.type_name != "string" && self.bytes.as_deref() == Some(b"*0\r\n")
    }
}

impl EventValue for HeldValue {
    fn type_name(&self) -> &'static str {
        self.type_name
    }

    fn to_bytes(&self, bytes_max: usize) -> Option<Vec<u8>> {
        self.bytes.clone().filter(|bytes| bytes.len() <= bytes_max)
    }
}

/// Elements of a collection, up to a number of bytes.
struct Elements {
    bytes_max: usize,
    bytes: usize,
    /// An element of a list or a set, or one with its value or score.
    found: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

impl Elements {
    fn push(&mut self, name: &[u8], value: Option<&[u8]>) {
        self.bytes += name.len() + value.map_or(0, <[u8]>::len);
        if !self.is_over() {
            self.found.push((name.to_vec(), value.map(<[u8]>::to_vec)));
        }
    }

    const fn is_over(&self) -> bool {
        self.bytes > self.bytes_max
    }
}

impl OpenKey<'_> {
    /// Reads the key's value, of which `bytes_max` bytes at most; `None` if it has none, or one of a type
    /// that functions do not get.
    pub(crate) fn held_value(&self, context: Context<'_>, bytes_max: usize) -> Option<HeldValue> {
        // SAFETY: the key is open.
        let type_name = match unsafe { (api().key_type)(self.raw()) } {
            ffi::KEYTYPE_STRING => {
                let bytes = (self.len() <= bytes_max)
                    .then(|| self.string(<[u8]>::to_vec))
                    .flatten();
                return Some(HeldValue {
                    type_name: "string",
                    bytes,
                });
            }
            ffi::KEYTYPE_LIST => "list",
            ffi::KEYTYPE_HASH => "hash",
            ffi::KEYTYPE_SET => "set",
            ffi::KEYTYPE_ZSET => "zset",
            _ => return None,
        };
        let mut elements = Elements {
            bytes_max,
            bytes: 0,
            found: Vec::new(),
        };
        // Each takes some bytes beside its own, so that more are too large anyway.
        let few = self.len() <= bytes_max / 4;
        if few && type_name == "list" {
            self.list(context, &mut elements);
        } else if few {
            self.scan(&mut elements);
        }
        if type_name == "zset" {
            in_order_of_scores(&mut elements.found);
        }
        let bytes = (few && !elements.is_over()).then(|| encoded(&elements.found));
        Some(HeldValue {
            type_name,
            bytes: bytes.filter(|bytes| bytes.len() <= bytes_max),
        })
    }

    fn list(&self, context: Context<'_>, elements: &mut Elements) {
        for index in 0..self.len() {
            let Ok(index) = c_long::try_from(index) else {
                return;
            };
            // SAFETY: the key is open and holds a list; the string is the caller's to free.
            let raw = unsafe { (api().list_get)(self.raw(), index) };
            if raw.is_null() || elements.is_over() {
                return;
            }
            elements.push(Owned::new(context, raw).bytes(), None);
        }
    }

    fn scan(&self, elements: &mut Elements) {
        struct Destroy(*mut Cursor);
        impl Drop for Destroy {
            fn drop(&mut self) {
                // SAFETY: `self` owns the cursor, and frees it once.
                unsafe { (api().scan_cursor_destroy)(self.0) };
            }
        }
        // SAFETY: the function takes nothing.
        let cursor = Destroy(unsafe { (api().scan_cursor_create)() });
        let into = std::ptr::from_mut(elements).cast::<c_void>();
        // SAFETY: an open key that holds a hash, a set or a sorted set, a live cursor, and a callback that
        // gets `elements`, which nothing else uses meanwhile.
        while unsafe { (api().scan_key)(self.raw(), cursor.0, element, into) } != 0 {
            // SAFETY: no callback runs now.
            if unsafe { (*into.cast::<Elements>()).is_over() } {
                return;
            }
        }
    }
}

unsafe extern "C" fn element(
    _: *mut Key,
    name: *mut RmString,
    value: *mut RmString,
    into: *mut c_void,
) {
    guard("an element of a value", (), || {
        // SAFETY: the server passes live strings, the second of which may be null, and what `scan` gave.
        let (name, value, elements) = unsafe {
            (
                Borrowed::new(name),
                (!value.is_null()).then(|| Borrowed::new(value)),
                &mut *into.cast::<Elements>(),
            )
        };
        elements.push(name.bytes(), value.map(Borrowed::bytes));
    });
}

/// Sorts members by their scores, which are written as the server's commands write them.
fn in_order_of_scores(members: &mut [(Vec<u8>, Option<Vec<u8>>)]) {
    let score = |text: &Option<Vec<u8>>| {
        let text = text.as_deref().unwrap_or_default();
        parse_double(text).unwrap_or_default()
    };
    members.sort_by(|(one, one_score), (other, other_score)| {
        let order = score(one_score).total_cmp(&score(other_score));
        order.then_with(|| one.cmp(other))
    });
    for (_, text) in members {
        *text = Some(format_double(score(text)).as_bytes().to_vec());
    }
}

fn encoded(elements: &[(Vec<u8>, Option<Vec<u8>>)]) -> Vec<u8> {
    let mut encoder = Encoder::default();
    let values = elements.iter().filter(|(_, value)| value.is_some()).count();
    encoder.array(elements.len() + values);
    for (name, value) in elements {
        encoder.bulk(name);
        if let Some(value) = value {
            encoder.bulk(value);
        }
    }
    encoder.take()
}

#[cfg(test)]
mod tests {
    use super::{HeldValue, encoded, in_order_of_scores};
    use ferrite_protocol::events::EventValue as _;

    fn member(name: &str, score: &str) -> (Vec<u8>, Option<Vec<u8>>) {
        (name.into(), Some(score.into()))
    }

    #[test]
    fn members_come_in_the_order_of_their_scores() {
        let mut members = vec![
            member("b", "10"),
            member("c", "1.50000000000000000"),
            member("a", "10"),
            member("d", "-inf"),
        ];
        in_order_of_scores(&mut members);
        let expected = [("d", "-inf"), ("c", "1.5"), ("a", "10"), ("b", "10")];
        assert_eq!(members, expected.map(|(name, score)| member(name, score)));
    }

    #[test]
    fn a_collection_is_an_array() {
        let fields = [member("f", "v"), member("g", "")];
        assert_eq!(
            encoded(&fields),
            b"*4\r\n$1\r\nf\r\n$1\r\nv\r\n$1\r\ng\r\n$0\r\n\r\n"
        );
        let value = HeldValue {
            type_name: "list",
            bytes: Some(encoded(&[])),
        };
        assert!(value.is_emptied() && !HeldValue::UNKNOWN.is_emptied());
        assert_eq!(value.to_bytes(3), None);
    }
}
