//! A reply: parsed from RESP2 or RESP3, as text, and as JSON.

mod json;
pub(crate) mod text;

use std::borrow::Cow;

use anyhow::{Context, Result, bail};

/// Deepest nesting that is parsed; the runtime's replies are less deep.
pub(crate) const DEPTH_MAX: usize = 64;

/// A value of RESP2 or RESP3.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Integer(i64),
    /// The text of the number.
    Double(String),
    /// The text of an integer of any length.
    BigNumber(String),
    /// A simple string.
    Status(Vec<u8>),
    Error(Vec<u8>),
    Bulk(Vec<u8>),
    /// Text with a declared format; it is printed unchanged.
    Verbatim(Vec<u8>),
    Array(Vec<Self>),
    Set(Vec<Self>),
    Push(Vec<Self>),
    Map(Vec<(Self, Self)>),
}

impl Value {
    /// Returns true if the reply itself is an error.
    pub(crate) fn is_error(&self) -> bool {
        matches!(self, Self::Error(_))
    }

    /// Returns true if the reply is an error that begins with this word.
    pub(crate) fn has_code(&self, code: &str) -> bool {
        self.error()
            .is_some_and(|text| text.split(' ').next() == Some(code))
    }

    /// Returns the text, if the reply is an error.
    pub(crate) fn error(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Error(text) => Some(String::from_utf8_lossy(text)),
            _ => None,
        }
    }
}

/// Parses `bytes`, which must be exactly one value.
pub(crate) fn read(bytes: &[u8]) -> Result<Value> {
    let mut reader = Reader { rest: bytes };
    let value = reader
        .value(0)
        .context("the reply is not one that the protocol knows")?;
    if !reader.rest.is_empty() {
        bail!("{} bytes follow the reply", reader.rest.len());
    }
    Ok(value)
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn value(&mut self, depth: usize) -> Result<Value> {
        if depth > DEPTH_MAX {
            bail!("it nests deeper than {DEPTH_MAX} levels");
        }
        let (&kind, after) = self.rest.split_first().context("it ends too early")?;
        self.rest = after;
        let line = self.line()?;
        let text = || String::from_utf8_lossy(line).into_owned();
        Ok(match kind {
            b'_' => Value::Null,
            b'#' => Value::Bool(line == b"t"),
            b':' => Value::Integer(text().parse().context("an integer is malformed")?),
            b',' => Value::Double(text()),
            b'(' => Value::BigNumber(text()),
            b'+' => Value::Status(line.to_vec()),
            b'-' => Value::Error(line.to_vec()),
            b'$' | b'*' if line == b"-1" => Value::Null,
            b'$' => Value::Bulk(self.bytes(line)?.to_vec()),
            b'!' => Value::Error(self.bytes(line)?.to_vec()),
            b'=' => {
                // Three letters and a colon name the format.
                let bytes = self.bytes(line)?;
                Value::Verbatim(bytes.get(4..).unwrap_or(bytes).to_vec())
            }
            b'*' => Value::Array(self.values(line, depth)?),
            b'~' => Value::Set(self.values(line, depth)?),
            b'>' => Value::Push(self.values(line, depth)?),
            b'%' => {
                let pairs = count(line)?;
                let mut map = Vec::new();
                for _ in 0..pairs {
                    map.push((self.value(depth + 1)?, self.value(depth + 1)?));
                }
                Value::Map(map)
            }
            other => bail!("`{}` starts no type", other.escape_ascii()),
        })
    }

    fn values(&mut self, line: &[u8], depth: usize) -> Result<Vec<Value>> {
        // The count is not trusted: memory grows only as values arrive.
        (0..count(line)?).map(|_| self.value(depth + 1)).collect()
    }

    /// Takes the text up to the next line end.
    fn line(&mut self) -> Result<&'a [u8]> {
        let end = self
            .rest
            .windows(2)
            .position(|pair| pair == b"\r\n")
            .context("it ends too early")?;
        let line = &self.rest[..end];
        self.rest = &self.rest[end + 2..];
        Ok(line)
    }

    /// Takes a string of the length that `line` says, and its line end.
    fn bytes(&mut self, line: &[u8]) -> Result<&'a [u8]> {
        let length = count(line)?;
        let bytes = self.rest.get(..length).context("it ends too early")?;
        self.rest = self.rest[length..]
            .strip_prefix(b"\r\n")
            .context("a string has another length than it says")?;
        Ok(bytes)
    }
}

fn count(line: &[u8]) -> Result<usize> {
    std::str::from_utf8(line)
        .ok()
        .and_then(|text| text.parse().ok())
        .context("a length is malformed")
}

#[cfg(test)]
mod tests {
    use super::{DEPTH_MAX, Value, read};

    #[test]
    fn every_type_is_read() {
        let cases: [(&[u8], Value); 8] = [
            (b"$-1\r\n", Value::Null),
            (b"#t\r\n", Value::Bool(true)),
            (b":-7\r\n", Value::Integer(-7)),
            (b",1.5\r\n", Value::Double("1.5".to_owned())),
            (b"$4\r\na\r\nb\r\n", Value::Bulk(b"a\r\nb".to_vec())),
            (b"=6\r\ntxt:hi\r\n", Value::Verbatim(b"hi".to_vec())),
            (b"~1\r\n_\r\n", Value::Set(vec![Value::Null])),
            (
                b"%1\r\n+k\r\n*0\r\n",
                Value::Map(vec![(Value::Status(b"k".to_vec()), Value::Array(vec![]))]),
            ),
        ];
        for (bytes, expected) in cases {
            assert_eq!(read(bytes).expect("it is well-formed"), expected);
        }
    }

    #[test]
    fn what_is_malformed_is_refused() {
        for bytes in [
            &b""[..],
            b":",
            b":x\r\n",
            b"$5\r\nhi\r\n",
            b"$1\r\nhi\r\n",
            b"*2\r\n:1\r\n",
            b"*99999999999\r\n",
            b"?\r\n",
            b":1\r\n:2\r\n",
        ] {
            assert!(read(bytes).is_err(), "{}", bytes.escape_ascii());
        }
        assert!(read(&b"*1\r\n".repeat(DEPTH_MAX + 2)).is_err());
        assert!(read(&b"*1\r\n".repeat(1 << 20)).is_err());
    }
}
