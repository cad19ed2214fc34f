//! Reads RESP one token at a time: a whole scalar value, or the head of an aggregate.

/// A scalar value, or the head of an aggregate whose values follow.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Token<'a> {
    /// Null, or the null bulk string of RESP2.
    Null,
    /// The null array of RESP2.
    NullArray,
    /// A boolean.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A double.
    Double(f64),
    /// A bulk string.
    Bulk(&'a [u8]),
    /// A status line.
    Simple(&'a [u8]),
    /// An error line, or a bulk error.
    Error(&'a [u8]),
    /// Text, with its three-letter format.
    Verbatim([u8; 3], &'a [u8]),
    /// An integer of any size, as decimal digits.
    BigNumber(&'a [u8]),
    /// The head of an array; this many elements follow.
    Array(usize),
    /// The head of a map; this many pairs follow.
    Map(usize),
    /// The head of a set; this many elements follow.
    Set(usize),
    /// The head of a push message; this many elements follow.
    Push(usize),
    /// The head of an attribute: this many pairs follow. They describe the value after them, and are
    /// not part of it.
    Attribute(usize),
}

/// Reason why bytes are not one RESP value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplySyntaxError {
    /// A byte that is no type's first byte.
    #[error("byte {offset} is '{}', which starts no RESP type", .got.escape_ascii())]
    UnknownType {
        /// Its offset, in bytes.
        offset: usize,
        /// The byte.
        got: u8,
    },
    /// The text of a value does not fit its type.
    #[error("the {kind} at byte {offset} is malformed")]
    Malformed {
        /// Offset of the value's first byte.
        offset: usize,
        /// Its type.
        kind: &'static str,
    },
    /// Aggregates are nested too deep.
    #[error("at byte {offset} it nests deeper than {limit} levels; make it flatter")]
    TooDeep {
        /// Offset of the innermost one.
        offset: usize,
        /// Deepest nesting accepted.
        limit: usize,
    },
    /// The bytes end before the value does.
    #[error("it ends at byte {offset}, before the value does")]
    Incomplete {
        /// Number of bytes.
        offset: usize,
    },
    /// Bytes after the value.
    #[error("the value ends at byte {offset}, and more follows")]
    Trailing {
        /// Offset of the value's end.
        offset: usize,
    },
    /// More bytes than the limit.
    #[error(
        "it has {bytes} bytes, the limit is {limit_bytes}; raise max_reply, or reply with less"
    )]
    TooLong {
        /// Number of bytes.
        bytes: usize,
        /// The limit, in bytes.
        limit_bytes: usize,
    },
}

/// Bytes with a read position.
pub(super) struct Reader<'a> {
    input: &'a [u8],
    at: usize,
}

/// `None` if the input ends too early.
type Read<T> = Result<Option<T>, ReplySyntaxError>;

impl<'a> Reader<'a> {
    pub(super) const fn new(input: &'a [u8]) -> Self {
        Self { input, at: 0 }
    }

    /// Returns the number of bytes read.
    pub(super) const fn at(&self) -> usize {
        self.at
    }

    /// Reads one token; `None` if the input ends before it does.
    ///
    /// Reads RESP2's null forms and every type of RESP3 except the streamed ones, which Redis never
    /// sends.
    pub(super) fn token(&mut self) -> Read<Token<'a>> {
        let offset = self.at;
        let Some(&kind) = self.input.get(offset) else {
            return Ok(None);
        };
        let name = match kind {
            b'+' => "simple string",
            b'-' => "error",
            b':' => "integer",
            b'$' => "bulk string",
            b'*' => "array",
            b'_' => "null",
            b'#' => "boolean",
            b',' => "double",
            b'(' => "big number",
            b'!' => "bulk error",
            b'=' => "verbatim string",
            b'%' => "map",
            b'~' => "set",
            b'>' => "push",
            b'|' => "attribute",
            got => return Err(ReplySyntaxError::UnknownType { offset, got }),
        };
        let malformed = ReplySyntaxError::Malformed { offset, kind: name };
        let Some((line, next)) = self.line(offset + 1, malformed)? else {
            return Ok(None);
        };
        // Aggregates of `n` pairs hold twice as many values, so this uses half of the range.
        let count = || parse_count(line, usize::MAX / 2).ok_or(malformed);
        let token = match kind {
            b'+' => Token::Simple(line),
            b'-' => Token::Error(line),
            b':' => Token::Int(parse_int(line).ok_or(malformed)?),
            b'_' if line.is_empty() => Token::Null,
            b'#' if line == b"t" => Token::Bool(true),
            b'#' if line == b"f" => Token::Bool(false),
            b',' => Token::Double(parse_double(line).ok_or(malformed)?),
            b'(' if is_integer(line) => Token::BigNumber(line),
            b'$' if line == b"-1" => Token::Null,
            b'*' if line == b"-1" => Token::NullArray,
            b'*' => Token::Array(count()?),
            b'%' => Token::Map(count()?),
            b'~' => Token::Set(count()?),
            b'>' => Token::Push(count()?),
            b'|' => Token::Attribute(count()?),
            b'$' | b'!' | b'=' => return self.blob(kind, line, next, malformed),
            _ => return Err(malformed),
        };
        self.at = next;
        Ok(Some(token))
    }

    /// Returns the text from `start` to the line end, and the start of the next line.
    fn line(&self, start: usize, malformed: ReplySyntaxError) -> Read<(&'a [u8], usize)> {
        let rest = &self.input[start..];
        let Some(length) = rest.iter().position(|byte| matches!(byte, b'\r' | b'\n')) else {
            return Ok(None);
        };
        match rest[length..] {
            [b'\r', b'\n', ..] => Ok(Some((&rest[..length], start + length + 2))),
            [b'\r'] => Ok(None),
            _ => Err(malformed),
        }
    }

    fn blob(
        &mut self,
        kind: u8,
        length: &[u8],
        start: usize,
        malformed: ReplySyntaxError,
    ) -> Read<Token<'a>> {
        let length = parse_count(length, isize::MAX.unsigned_abs()).ok_or(malformed)?;
        let rest = &self.input[start..];
        let Some(after) = rest.get(length..) else {
            return Ok(None);
        };
        let text = &rest[..length];
        match after {
            [b'\r', b'\n', ..] => {}
            [] | [b'\r'] => return Ok(None),
            _ => return Err(malformed),
        }
        let token = match (kind, text) {
            (b'$', _) => Token::Bulk(text),
            (b'!', _) => Token::Error(text),
            (_, &[a, b, c, b':', ref text @ ..]) => Token::Verbatim([a, b, c], text),
            _ => return Err(malformed),
        };
        self.at = start + length + 2;
        Ok(Some(token))
    }
}

fn parse_count(digits: &[u8], max: usize) -> Option<usize> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_usize, |value, &byte| {
        let digit = byte.is_ascii_digit().then(|| usize::from(byte - b'0'))?;
        let next = value.checked_mul(10)?.checked_add(digit)?;
        (next <= max).then_some(next)
    })
}

/// `i64`'s own parser accepts the optional sign, and refuses everything else.
fn parse_int(text: &[u8]) -> Option<i64> {
    str::from_utf8(text).ok()?.parse().ok()
}

fn parse_double(text: &[u8]) -> Option<f64> {
    match text {
        b"inf" | b"+inf" => Some(f64::INFINITY),
        b"-inf" => Some(f64::NEG_INFINITY),
        b"nan" | b"-nan" => Some(f64::NAN),
        // Rust accepts words such as `infinity`, which RESP does not have.
        _ if text.iter().all(|byte| b"0123456789+-.eE".contains(byte)) => {
            str::from_utf8(text).ok()?.parse().ok()
        }
        _ => None,
    }
}

fn is_integer(text: &[u8]) -> bool {
    let digits = match text {
        [b'-' | b'+', digits @ ..] => digits,
        digits => digits,
    };
    !digits.is_empty() && digits.iter().all(u8::is_ascii_digit)
}
