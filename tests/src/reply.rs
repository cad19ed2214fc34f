//! Replies in the form that tests compare.

use std::fmt;

use redis_protocol::resp2::decode::decode as decode2;
use redis_protocol::resp2::types::OwnedFrame as Frame2;
use redis_protocol::resp3::decode::complete::decode as decode3;
use redis_protocol::resp3::types::OwnedFrame as Frame3;

/// One reply of a server.
#[derive(Clone, PartialEq)]
pub enum Reply {
    /// A status line.
    Simple(String),
    /// An error line, code and text.
    Error(String),
    /// An integer.
    Int(i64),
    /// A string of any bytes.
    Bulk(Vec<u8>),
    /// A null.
    Null,
    /// Replies in order.
    Array(Vec<Reply>),
    /// Pairs; a decoder may lose their order, so they are sorted by their text.
    Map(Vec<(Reply, Reply)>),
    /// Replies without an order, sorted as well.
    Set(Vec<Reply>),
    /// A double.
    Double(f64),
    /// True or false.
    Bool(bool),
    /// Text with its format, as `txt:…`.
    Verbatim(Vec<u8>),
    /// An integer of any size.
    BigNumber(String),
    /// A message that the server sends unasked.
    Push(Vec<Reply>),
}

impl Reply {
    /// Decodes the first whole reply in `bytes`; returns it with its length in bytes.
    ///
    /// # Panics
    ///
    /// If they are not RESP, which our servers must never send.
    #[must_use]
    pub fn decode(bytes: &[u8], resp3: bool) -> Option<(Self, usize)> {
        let broken = |error| -> ! {
            panic!(
                "the server's reply is no RESP: {error:?} in {:?}",
                bytes.escape_ascii().to_string()
            )
        };
        if resp3 {
            let decoded = decode3(bytes).unwrap_or_else(|error| broken(error));
            decoded.map(|(frame, length)| (frame.into(), length))
        } else {
            let decoded = decode2(bytes).unwrap_or_else(|error| broken(error));
            decoded.map(|(frame, length)| (frame.into(), length))
        }
    }

    /// The text of a status line or of a string of text.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Simple(text) => Some(text),
            Self::Bulk(bytes) | Self::Verbatim(bytes) => std::str::from_utf8(bytes).ok(),
            _ => None,
        }
    }

    /// The text of an error.
    #[must_use]
    pub fn error(&self) -> Option<&str> {
        match self {
            Self::Error(text) => Some(text),
            _ => None,
        }
    }

    /// The integer.
    #[must_use]
    pub fn int(&self) -> Option<i64> {
        match self {
            Self::Int(value) => Some(*value),
            _ => None,
        }
    }

    /// The elements of an array, set or push.
    #[must_use]
    pub fn elements(&self) -> Option<&[Self]> {
        match self {
            Self::Array(elements) | Self::Set(elements) | Self::Push(elements) => Some(elements),
            _ => None,
        }
    }

    /// The value of a text key, in a map or in the flat array that replaces a map in RESP2.
    #[must_use]
    pub fn at(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Map(pairs) => pairs
                .iter()
                .find(|(name, _)| name.text() == Some(key))
                .map(|(_, value)| value),
            Self::Array(elements) => elements
                .as_chunks::<2>()
                .0
                .iter()
                .find(|[name, _]| name.text() == Some(key))
                .map(|[_, value]| value),
            _ => None,
        }
    }
}

/// Formats the reply as `redis-cli` does, on one line.
impl fmt::Debug for Reply {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Simple(text) => write!(out, "{text}"),
            Self::Error(text) => write!(out, "(error) {text}"),
            Self::Int(value) => write!(out, "(integer) {value}"),
            Self::Bulk(bytes) => write!(out, "\"{}\"", bytes.escape_ascii()),
            Self::Null => write!(out, "(nil)"),
            Self::Array(elements) => out.debug_list().entries(elements).finish(),
            Self::Map(pairs) => out
                .debug_map()
                .entries(pairs.iter().map(|(key, value)| (key, value)))
                .finish(),
            Self::Set(elements) => out.debug_set().entries(elements).finish(),
            Self::Double(value) => write!(out, "(double) {value}"),
            Self::Bool(value) => write!(out, "({value})"),
            Self::Verbatim(bytes) => write!(out, "(verbatim) \"{}\"", bytes.escape_ascii()),
            Self::BigNumber(digits) => write!(out, "(big number) {digits}"),
            Self::Push(elements) => {
                write!(out, "(push) ")?;
                out.debug_list().entries(elements).finish()
            }
        }
    }
}

fn lossy(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| error.as_bytes().escape_ascii().to_string())
}

impl From<Frame2> for Reply {
    fn from(frame: Frame2) -> Self {
        match frame {
            Frame2::SimpleString(text) => Self::Simple(lossy(text)),
            Frame2::Error(text) => Self::Error(text),
            Frame2::Integer(value) => Self::Int(value),
            Frame2::BulkString(bytes) => Self::Bulk(bytes),
            Frame2::Array(frames) => Self::Array(frames.into_iter().map(Self::from).collect()),
            Frame2::Null => Self::Null,
        }
    }
}

impl From<Frame3> for Reply {
    fn from(frame: Frame3) -> Self {
        let list = |frames: Vec<Frame3>| frames.into_iter().map(Self::from).collect();
        match frame {
            Frame3::SimpleString { data, .. } => Self::Simple(lossy(data)),
            Frame3::SimpleError { data, .. } => Self::Error(data),
            Frame3::BlobError { data, .. } => Self::Error(lossy(data)),
            Frame3::BlobString { data, .. } | Frame3::ChunkedString(data) => Self::Bulk(data),
            Frame3::Number { data, .. } => Self::Int(data),
            Frame3::Double { data, .. } => Self::Double(data),
            Frame3::Boolean { data, .. } => Self::Bool(data),
            Frame3::Null => Self::Null,
            Frame3::BigNumber { data, .. } => Self::BigNumber(lossy(data)),
            Frame3::VerbatimString { data, .. } => Self::Verbatim(data),
            Frame3::Array { data, .. } => Self::Array(list(data)),
            Frame3::Push { data, .. } => Self::Push(list(data)),
            Frame3::Map { data, .. } => {
                let mut pairs: Vec<(Self, Self)> = data
                    .into_iter()
                    .map(|(key, value)| (key.into(), value.into()))
                    .collect();
                pairs.sort_by_key(|pair| format!("{pair:?}"));
                Self::Map(pairs)
            }
            Frame3::Set { data, .. } => {
                let mut elements: Vec<Self> = data.into_iter().map(Self::from).collect();
                elements.sort_by_key(|element| format!("{element:?}"));
                Self::Set(elements)
            }
            Frame3::Hello { .. } => panic!("a server does not say HELLO"),
        }
    }
}
