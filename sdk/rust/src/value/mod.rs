//! A reply of any shape.

pub(crate) mod decode;
pub(crate) mod from_value;
pub(crate) mod number;

use alloc::string::String;
use alloc::vec::Vec;

/// A reply of any shape: the result of `ferrite::call`, or a function's reply in a test.
///
/// `ferrite::call` uses RESP2, in which booleans, doubles and maps are integers, strings and flat
/// arrays; [`FromValue`](crate::FromValue) converts them back.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// No value.
    Null,
    /// True or false.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A floating-point number.
    Double(f64),
    /// A binary-safe string.
    Bulk(Vec<u8>),
    /// A short status text, such as `OK`.
    Simple(String),
    /// An error, its code first.
    Error(String),
    /// A list of replies.
    Array(Vec<Value>),
    /// Pairs of replies, in order.
    Map(Vec<(Value, Value)>),
}

impl Value {
    /// Returns the kind of reply, for messages.
    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Int(_) => "an integer",
            Self::Double(_) => "a double",
            Self::Bulk(_) => "a string",
            Self::Simple(_) => "a status",
            Self::Error(_) => "an error",
            Self::Array(_) => "an array",
            Self::Map(_) => "a map",
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Bulk(text.into())
    }
}

impl From<&[u8]> for Value {
    fn from(bytes: &[u8]) -> Self {
        Self::Bulk(bytes.into())
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

impl<T: Into<Self>> From<Vec<T>> for Value {
    fn from(items: Vec<T>) -> Self {
        Self::Array(items.into_iter().map(Into::into).collect())
    }
}
