//! Converts bytes and replies to Rust values, for `ferrite::get`, `ferrite::call` and parameters.

use alloc::borrow::Cow;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use crate::excerpt::excerpt;
use crate::value::Value;
use crate::value::number::{float, integer};

/// Values that a type accepts, and the value that was given instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    expected: Cow<'static, str>,
    given: String,
}

impl Mismatch {
    /// `expected` completes "must be …"; `given` is the value that is not that.
    #[cold]
    #[must_use]
    pub fn new(expected: impl Into<Cow<'static, str>>, given: &[u8]) -> Self {
        Self {
            expected: expected.into(),
            given: excerpt(given),
        }
    }

    /// The same for a reply that is not a string.
    #[cold]
    fn of_value(expected: impl Into<Cow<'static, str>>, given: &Value) -> Self {
        match given {
            Value::Bulk(bytes) => Self::new(expected, bytes),
            Value::Simple(text) | Value::Error(text) => Self::new(expected, text.as_bytes()),
            other => Self {
                expected: expected.into(),
                given: other.kind().into(),
            },
        }
    }

    /// Returns the sentence "`subject` must be …, not …".
    pub(crate) fn describe(&self, subject: &[&str]) -> String {
        let subject = subject.concat();
        [&subject, " must be ", &self.expected, ", not ", &self.given].concat()
    }
}

/// A type that can be read from a string of the store, an argument or a command's reply.
///
/// Numbers are read from their decimal text, booleans from `1`, `0`, `true` and `false`, lists,
/// tuples and maps from arrays. `Option<T>` is `None` for a null reply. A type of your own needs
/// [`from_bytes`](Self::from_bytes) only:
///
/// ```
/// use ferrite_wasm_sdk::{FromValue, Mismatch};
///
/// enum Plan { Free, Paid }
///
/// impl FromValue for Plan {
///     fn from_bytes(bytes: &[u8]) -> Result<Self, Mismatch> {
///         match bytes {
///             b"free" => Ok(Self::Free),
///             b"paid" => Ok(Self::Paid),
///             other => Err(Mismatch::new("free or paid", other)),
///         }
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be read from the store or from a command's reply",
    note = "strings, bytes, numbers, `bool`, `Option`, `Vec`, tuples, maps, `Value` and `Json<T>` can"
)]
pub trait FromValue: Sized {
    /// Reads a string.
    ///
    /// # Errors
    ///
    /// Returns a [`Mismatch`] if the bytes are something else than the type accepts.
    fn from_bytes(bytes: &[u8]) -> Result<Self, Mismatch>;

    /// Reads a string whose bytes may be kept.
    ///
    /// # Errors
    ///
    /// Returns a [`Mismatch`] if the bytes are something else than the type accepts.
    fn from_vec(bytes: Vec<u8>) -> Result<Self, Mismatch> {
        Self::from_bytes(&bytes)
    }

    /// Reads a command's reply. By default only strings are accepted.
    ///
    /// # Errors
    ///
    /// Returns a [`Mismatch`] if the reply is something else than the type accepts.
    fn from_value(value: Value) -> Result<Self, Mismatch> {
        match value {
            Value::Bulk(bytes) => Self::from_vec(bytes),
            Value::Simple(text) => Self::from_vec(text.into_bytes()),
            other => Err(Mismatch::of_value("a string", &other)),
        }
    }

    /// Reads a list of this type from a string: bytes are such a list, and nothing else is.
    #[doc(hidden)]
    fn list_from_bytes(bytes: &[u8]) -> Result<Vec<Self>, Mismatch> {
        Err(Mismatch::new("an array", bytes))
    }

    /// The same from bytes that may be kept.
    #[doc(hidden)]
    fn list_from_vec(bytes: Vec<u8>) -> Result<Vec<Self>, Mismatch> {
        Self::list_from_bytes(&bytes)
    }

    /// Reads a list of this type from a reply.
    #[doc(hidden)]
    fn list_from_value(value: Value) -> Result<Vec<Self>, Mismatch> {
        match value {
            Value::Array(items) => items.into_iter().map(Self::from_value).collect(),
            // A map is read as the flat array that RESP2 makes of it, or as its pairs.
            Value::Map(pairs) => pairs
                .into_iter()
                .map(|(key, value)| Self::from_value(Value::Array([key, value].into())))
                .collect(),
            other => Err(Mismatch::of_value("an array", &other)),
        }
    }
}

impl FromValue for String {
    fn from_bytes(bytes: &[u8]) -> Result<Self, Mismatch> {
        core::str::from_utf8(bytes)
            .map(Into::into)
            .map_err(|_| Mismatch::new("UTF-8 text", bytes))
    }

    fn from_vec(bytes: Vec<u8>) -> Result<Self, Mismatch> {
        Self::from_utf8(bytes).map_err(|error| Mismatch::new("UTF-8 text", error.as_bytes()))
    }

    fn from_value(value: Value) -> Result<Self, Mismatch> {
        match value {
            Value::Int(number) => Ok(crate::argument::Decimal::of(number).text().into()),
            Value::Bulk(bytes) => Self::from_vec(bytes),
            Value::Simple(text) => Ok(text),
            other => Err(Mismatch::of_value("UTF-8 text", &other)),
        }
    }
}

macro_rules! integers {
    ($($ty:ident: $expected:literal;)*) => {$(
        impl FromValue for $ty {
            fn from_bytes(bytes: &[u8]) -> Result<Self, Mismatch> {
                integer(bytes)
                    .and_then(|number| Self::try_from(number).ok())
                    .ok_or_else(|| Mismatch::new($expected, bytes))
            }

            fn from_value(value: Value) -> Result<Self, Mismatch> {
                match value {
                    Value::Int(number) => Self::try_from(number).map_err(|_| {
                        let text = crate::argument::Decimal::of(number);
                        Mismatch::new($expected, text.bytes())
                    }),
                    Value::Bulk(bytes) => Self::from_vec(bytes),
                    other => Err(Mismatch::of_value($expected, &other)),
                }
            }
        }
    )*};
}

integers! {
    i8: "an integer from -128 to 127";
    i16: "an integer from -32768 to 32767";
    i32: "a 32-bit integer";
    i64: "a 64-bit integer";
    isize: "an integer";
    u16: "an integer from 0 to 65535";
    u32: "an unsigned 32-bit integer";
    u64: "an unsigned 64-bit integer";
    usize: "an unsigned integer";
}

impl FromValue for u8 {
    fn from_bytes(bytes: &[u8]) -> Result<Self, Mismatch> {
        integer(bytes)
            .and_then(|number| Self::try_from(number).ok())
            .ok_or_else(|| Mismatch::new("an integer from 0 to 255", bytes))
    }

    fn from_value(value: Value) -> Result<Self, Mismatch> {
        match value {
            Value::Int(number) if (0..=255).contains(&number) => Ok(number as Self),
            Value::Bulk(bytes) => Self::from_vec(bytes),
            other => Err(Mismatch::of_value("an integer from 0 to 255", &other)),
        }
    }

    fn list_from_bytes(bytes: &[u8]) -> Result<Vec<Self>, Mismatch> {
        Ok(bytes.to_vec())
    }

    fn list_from_vec(bytes: Vec<u8>) -> Result<Vec<Self>, Mismatch> {
        Ok(bytes)
    }

    fn list_from_value(value: Value) -> Result<Vec<Self>, Mismatch> {
        match value {
            Value::Bulk(bytes) => Ok(bytes),
            Value::Simple(text) => Ok(text.into_bytes()),
            other => Err(Mismatch::of_value("a string", &other)),
        }
    }
}

macro_rules! floats {
    ($($ty:ident)*) => {$(
        impl FromValue for $ty {
            fn from_bytes(bytes: &[u8]) -> Result<Self, Mismatch> {
                float(bytes).ok_or_else(|| Mismatch::new("a number", bytes))
            }

            fn from_value(value: Value) -> Result<Self, Mismatch> {
                match value {
                    Value::Double(number) => Ok(number as Self),
                    Value::Int(number) => Ok(number as Self),
                    Value::Bulk(bytes) => Self::from_vec(bytes),
                    other => Err(Mismatch::of_value("a number", &other)),
                }
            }
        }
    )*};
}

floats!(f32 f64);

impl FromValue for bool {
    fn from_bytes(bytes: &[u8]) -> Result<Self, Mismatch> {
        match bytes {
            b"1" | b"true" => Ok(true),
            b"0" | b"false" => Ok(false),
            other => Err(Mismatch::new("1, 0, true or false", other)),
        }
    }

    fn from_value(value: Value) -> Result<Self, Mismatch> {
        match value {
            Value::Bool(truth) => Ok(truth),
            Value::Int(number @ (0 | 1)) => Ok(number == 1),
            Value::Bulk(bytes) => Self::from_vec(bytes),
            // `SET … NX` answers OK or null.
            Value::Simple(text) if text == "OK" => Ok(true),
            Value::Null => Ok(false),
            other => Err(Mismatch::of_value("true or false", &other)),
        }
    }
}

/// Takes any reply for granted, so that `ferrite::call::<()>` only fails where the command does.
impl FromValue for () {
    fn from_bytes(_: &[u8]) -> Result<Self, Mismatch> {
        Ok(())
    }

    fn from_value(_: Value) -> Result<Self, Mismatch> {
        Ok(())
    }
}

impl FromValue for Value {
    fn from_bytes(bytes: &[u8]) -> Result<Self, Mismatch> {
        Ok(Self::Bulk(bytes.to_vec()))
    }

    fn from_value(value: Value) -> Result<Self, Mismatch> {
        Ok(value)
    }
}

impl<T: FromValue> FromValue for Option<T> {
    fn from_bytes(bytes: &[u8]) -> Result<Self, Mismatch> {
        T::from_bytes(bytes).map(Some)
    }

    fn from_vec(bytes: Vec<u8>) -> Result<Self, Mismatch> {
        T::from_vec(bytes).map(Some)
    }

    fn from_value(value: Value) -> Result<Self, Mismatch> {
        match value {
            Value::Null => Ok(None),
            value => T::from_value(value).map(Some),
        }
    }
}

impl<T: FromValue> FromValue for Vec<T> {
    fn from_bytes(bytes: &[u8]) -> Result<Self, Mismatch> {
        T::list_from_bytes(bytes)
    }

    fn from_vec(bytes: Vec<u8>) -> Result<Self, Mismatch> {
        T::list_from_vec(bytes)
    }

    fn from_value(value: Value) -> Result<Self, Mismatch> {
        T::list_from_value(value)
    }
}

/// Reads the pairs of a map, or of the flat array that RESP2 makes of it.
fn pairs<K: FromValue, V: FromValue>(
    value: Value,
    mut insert: impl FnMut(K, V),
) -> Result<(), Mismatch> {
    match value {
        Value::Map(pairs) => {
            for (key, value) in pairs {
                insert(K::from_value(key)?, V::from_value(value)?);
            }
        }
        Value::Array(items) if items.len() % 2 == 0 => {
            let mut items = items.into_iter();
            while let (Some(key), Some(value)) = (items.next(), items.next()) {
                insert(K::from_value(key)?, V::from_value(value)?);
            }
        }
        other => return Err(Mismatch::of_value("a map", &other)),
    }
    Ok(())
}

impl<K: FromValue + Ord, V: FromValue> FromValue for BTreeMap<K, V> {
    fn from_bytes(bytes: &[u8]) -> Result<Self, Mismatch> {
        Err(Mismatch::new("a map", bytes))
    }

    fn from_value(value: Value) -> Result<Self, Mismatch> {
        let mut map = Self::new();
        pairs(value, |key, value| {
            map.insert(key, value);
        })?;
        Ok(map)
    }
}

#[cfg(feature = "std")]
impl<K, V, S> FromValue for std::collections::HashMap<K, V, S>
where
    K: FromValue + Eq + core::hash::Hash,
    V: FromValue,
    S: core::hash::BuildHasher + Default,
{
    fn from_bytes(bytes: &[u8]) -> Result<Self, Mismatch> {
        Err(Mismatch::new("a map", bytes))
    }

    fn from_value(value: Value) -> Result<Self, Mismatch> {
        let mut map = Self::default();
        pairs(value, |key, value| {
            map.insert(key, value);
        })?;
        Ok(map)
    }
}

macro_rules! tuples {
    ($($len:literal $text:literal: $($item:ident)*;)*) => {$(
        impl<$($item: FromValue),*> FromValue for ($($item,)*) {
            fn from_bytes(bytes: &[u8]) -> Result<Self, Mismatch> {
                Err(Mismatch::new($text, bytes))
            }

            fn from_value(value: Value) -> Result<Self, Mismatch> {
                match value {
                    Value::Array(items) if items.len() == $len => {
                        let mut items = items.into_iter();
                        Ok(($($item::from_value(items.next().unwrap_or(Value::Null))?,)*))
                    }
                    other => Err(Mismatch::of_value($text, &other)),
                }
            }
        }
    )*};
}

tuples! {
    1 "an array of 1": A;
    2 "an array of 2": A B;
    3 "an array of 3": A B C;
    4 "an array of 4": A B C D;
    5 "an array of 5": A B C D E;
    6 "an array of 6": A B C D E F;
}

#[cfg(test)]
mod tests {
    use super::FromValue;
    use crate::value::Value;
    use alloc::collections::BTreeMap;
    use alloc::string::String;
    use alloc::vec;
    use alloc::vec::Vec;

    fn complaint<T: FromValue>(value: Value) -> String {
        match T::from_value(value) {
            Ok(_) => "it is fine".into(),
            Err(mismatch) => mismatch.describe(&["it"]),
        }
    }

    #[test]
    fn numbers_come_as_integers_or_text() {
        assert_eq!(i64::from_value(Value::Int(-3)), Ok(-3));
        assert_eq!(u16::from_value(Value::from("65535")), Ok(65535));
        assert_eq!(f64::from_value(Value::from("2.5")), Ok(2.5));
        assert_eq!(u8::from_value(Value::Int(255)), Ok(255));
        assert_eq!(
            complaint::<u16>(Value::Int(-1)),
            r#"it must be an integer from 0 to 65535, not "-1""#
        );
        assert_eq!(
            complaint::<f64>(Value::from("nan")),
            r#"it must be a number, not "nan""#
        );
        assert_eq!(
            complaint::<i64>(Value::Null),
            "it must be a 64-bit integer, not null"
        );
    }

    #[test]
    fn bytes_are_one_string_and_other_lists_are_arrays() {
        assert_eq!(Vec::<u8>::from_bytes(b"\x00\xff"), Ok(vec![0, 255]));
        assert_eq!(
            Vec::<i64>::from_value(Value::from(vec![1, 2])),
            Ok(vec![1, 2])
        );
        assert_eq!(
            complaint::<Vec<String>>(Value::from("x")),
            r#"it must be an array, not "x""#
        );
    }

    #[test]
    fn maps_and_pairs_come_from_flat_arrays() {
        let flat = Value::from(vec!["a", "1", "b", "2"]);
        let map = BTreeMap::<String, i64>::from_value(flat);
        assert_eq!(map, Ok([("a".into(), 1), ("b".into(), 2)].into()));
        assert_eq!(
            complaint::<BTreeMap<String, String>>(Value::from(vec!["a"])),
            "it must be a map, not an array"
        );
        assert_eq!(
            <(String, i64)>::from_value(Value::from(vec!["a", "1"])),
            Ok(("a".into(), 1))
        );
    }

    #[test]
    fn text_must_be_utf8() {
        assert_eq!(
            complaint::<String>(Value::Bulk(vec![0xff])),
            r#"it must be UTF-8 text, not "\xff""#
        );
    }
}
