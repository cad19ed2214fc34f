//! Checks replies that a guest built and writes them in the client's protocol, without recursion.

use smallvec::SmallVec;

use crate::resp::encoder::Encoder;
use crate::resp::reader::{Reader, ReplySyntaxError, Token};

/// Bounds on the size and depth of a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplyBounds {
    /// Whole reply, in bytes as the guest wrote it.
    pub bytes_max: usize,
    /// Nesting of aggregates. Clients read replies recursively; old versions of `hiredis` stop at
    /// 9, and no command's reply nests deeper than a few levels.
    pub depth_max: usize,
}

impl Default for ReplyBounds {
    fn default() -> Self {
        Self {
            bytes_max: 16 << 20,
            depth_max: 32,
        }
    }
}

/// Writes a guest's reply into `out`, which stays unchanged if the reply is invalid.
///
/// `input` must be exactly one value of RESP2 or RESP3. Types that the client's protocol lacks are
/// written in Redis's form for it; attributes are dropped; line breaks in errors become blanks; a
/// push, which would answer no request, becomes an array.
pub fn transcode(
    input: &[u8],
    bounds: &ReplyBounds,
    out: &mut Encoder,
) -> Result<(), ReplySyntaxError> {
    if input.len() > bounds.bytes_max {
        return Err(ReplySyntaxError::TooLong {
            bytes: input.len(),
            limit_bytes: bounds.bytes_max,
        });
    }
    let start = out.len();
    let result = walk(input, bounds.depth_max, |token| write(token, out)).and_then(|end| {
        let offset = input.len();
        match end {
            Some(end) if end == offset => Ok(()),
            Some(end) => Err(ReplySyntaxError::Trailing { offset: end }),
            None => Err(ReplySyntaxError::Incomplete { offset }),
        }
    });
    if result.is_err() {
        out.truncate(start);
    }
    result
}

/// Returns the length of the first value in `input`, or `None` if more bytes must arrive.
///
/// For reading replies from a connection; [`ReplyBounds::bytes_max`] limits the bytes to buffer.
pub fn measure(input: &[u8], bounds: &ReplyBounds) -> Result<Option<usize>, ReplySyntaxError> {
    let end = walk(input, bounds.depth_max, |_| ())?;
    let bytes = end.unwrap_or(input.len());
    if bytes > bounds.bytes_max {
        return Err(ReplySyntaxError::TooLong {
            bytes,
            limit_bytes: bounds.bytes_max,
        });
    }
    Ok(end)
}

/// An aggregate with missing values.
struct Open {
    missing: usize,
    /// True for an attribute: it is no value itself, its value comes after it.
    attribute: bool,
    /// True for an attribute and everything inside one.
    hidden: bool,
}

/// Passes the tokens of one value to `visit`, except those of attributes. Returns the value's end.
fn walk(
    input: &[u8],
    depth_max: usize,
    mut visit: impl FnMut(Token<'_>),
) -> Result<Option<usize>, ReplySyntaxError> {
    let mut reader = Reader::new(input);
    let mut open: SmallVec<[Open; 16]> = SmallVec::new();
    loop {
        let offset = reader.at();
        let Some(token) = reader.token()? else {
            return Ok(None);
        };
        let (missing, attribute) = match token {
            Token::Array(count) | Token::Set(count) | Token::Push(count) => (count, false),
            Token::Map(pairs) => (pairs * 2, false),
            Token::Attribute(pairs) => (pairs * 2, true),
            _ => (0, false),
        };
        let hidden = attribute || open.last().is_some_and(|outer| outer.hidden);
        if !hidden {
            visit(token);
        }
        if missing > 0 {
            if open.len() == depth_max {
                return Err(ReplySyntaxError::TooDeep {
                    offset,
                    limit: depth_max,
                });
            }
            open.push(Open {
                missing,
                attribute,
                hidden,
            });
        } else if !attribute && complete_value(&mut open) {
            return Ok(Some(reader.at()));
        }
    }
}

/// Counts one more value, and every aggregate that it completes. Returns true if the outermost
/// value is complete.
fn complete_value(open: &mut SmallVec<[Open; 16]>) -> bool {
    while let Some(inner) = open.last_mut() {
        inner.missing -= 1;
        if inner.missing > 0 {
            return false;
        }
        let attribute = inner.attribute;
        open.pop();
        if attribute {
            return false;
        }
    }
    true
}

fn write(token: Token<'_>, out: &mut Encoder) {
    match token {
        Token::Null => out.null(),
        Token::NullArray => out.null_array(),
        Token::Bool(value) => out.bool(value),
        Token::Int(value) => out.int(value),
        Token::Double(value) => out.double(value),
        Token::Bulk(text) => out.bulk(text),
        Token::Simple(text) => out.simple(text),
        Token::Error(text) => out.error(text),
        Token::Verbatim(format, text) => out.verbatim(format, text),
        Token::BigNumber(digits) => out.big_number(digits),
        Token::Array(count) | Token::Push(count) => out.array(count),
        Token::Map(pairs) => out.map(pairs),
        Token::Set(count) => out.set(count),
        // `walk` passes on no attributes.
        Token::Attribute(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::{ReplyBounds, measure, transcode};
    use crate::resp::{Encoder, Protocol, ReplySyntaxError};

    const BOUNDS: ReplyBounds = ReplyBounds {
        bytes_max: 1000,
        depth_max: 4,
    };

    fn to(protocol: Protocol, input: &[u8]) -> Result<String, ReplySyntaxError> {
        let mut out = Encoder::new(protocol);
        out.ok();
        let result = transcode(input, &BOUNDS, &mut out);
        let written = String::from_utf8_lossy(out.bytes()).into_owned();
        let written = written
            .strip_prefix("+OK\r\n")
            .expect("what was there stays");
        if result.is_err() {
            assert_eq!(written, "");
        }
        result.map(|()| written.replace("\r\n", " "))
    }

    #[test]
    fn every_type_reaches_both_protocols() {
        for (input, resp2, resp3) in [
            ("+OK\r\n", "+OK ", "+OK "),
            ("-ERR a\r\n", "-ERR a ", "-ERR a "),
            (":-7\r\n", ":-7 ", ":-7 "),
            (":+7\r\n", ":7 ", ":7 "),
            ("$2\r\nab\r\n", "$2 ab ", "$2 ab "),
            ("$-1\r\n", "$-1 ", "_ "),
            ("*-1\r\n", "*-1 ", "_ "),
            ("_\r\n", "$-1 ", "_ "),
            ("#t\r\n", ":1 ", "#t "),
            ("#f\r\n", ":0 ", "#f "),
            (",1.50\r\n", "$3 1.5 ", ",1.5 "),
            (",-inf\r\n", "$4 -inf ", ",-inf "),
            (",nan\r\n", "$3 nan ", ",nan "),
            (
                "(12345678901234567890\r\n",
                "$20 12345678901234567890 ",
                "(12345678901234567890 ",
            ),
            ("!7\r\nERR a\nb\r\n", "-ERR a b ", "-ERR a b "),
            ("=6\r\ntxt:hi\r\n", "$2 hi ", "=6 txt:hi "),
            ("*2\r\n:1\r\n*0\r\n", "*2 :1 *0 ", "*2 :1 *0 "),
            ("%1\r\n+a\r\n%0\r\n", "*2 +a *0 ", "%1 +a %0 "),
            ("~1\r\n:1\r\n", "*1 :1 ", "~1 :1 "),
            (">1\r\n:1\r\n", "*1 :1 ", "*1 :1 "),
            ("|1\r\n+ttl\r\n*1\r\n:9\r\n:1\r\n", ":1 ", ":1 "),
            (
                "*2\r\n|1\r\n|0\r\n+a\r\n+b\r\n:1\r\n:2\r\n",
                "*2 :1 :2 ",
                "*2 :1 :2 ",
            ),
        ] {
            assert_eq!(
                to(Protocol::Resp2, input.as_bytes()),
                Ok(resp2.to_owned()),
                "{input:?}"
            );
            assert_eq!(
                to(Protocol::Resp3, input.as_bytes()),
                Ok(resp3.to_owned()),
                "{input:?}"
            );
        }
    }

    #[test]
    fn what_is_wrong_is_said_and_leaves_nothing() {
        let long = [b"$1000\r\n".as_slice(), &[b'a'; 1000], b"\r\n"].concat();
        let cases: &[(&[u8], &str)] = &[
            (b"", "it ends at byte 0, before the value does"),
            (b"+OK", "it ends at byte 3, before the value does"),
            (b"*2\r\n:1\r\n", "it ends at byte 8, before the value does"),
            (
                b"*9223372036854775807\r\n",
                "it ends at byte 22, before the value does",
            ),
            (
                b"|1\r\n+a\r\n+b\r\n",
                "it ends at byte 12, before the value does",
            ),
            (
                b":1\r\n:2\r\n",
                "the value ends at byte 4, and more follows",
            ),
            (b"hello", "byte 0 is 'h', which starts no RESP type"),
            (b"*1\r\n?1\r\n", "byte 4 is '?', which starts no RESP type"),
            (b"+a\nb\r\n", "the simple string at byte 0 is malformed"),
            (b"+a\rb\r\n", "the simple string at byte 0 is malformed"),
            (b":1.5\r\n", "the integer at byte 0 is malformed"),
            (
                b":9223372036854775808\r\n",
                "the integer at byte 0 is malformed",
            ),
            (b"#x\r\n", "the boolean at byte 0 is malformed"),
            (b"_x\r\n", "the null at byte 0 is malformed"),
            (b",infinity\r\n", "the double at byte 0 is malformed"),
            (b",\r\n", "the double at byte 0 is malformed"),
            (b"(12a\r\n", "the big number at byte 0 is malformed"),
            (b"$-2\r\n", "the bulk string at byte 0 is malformed"),
            (b"$+2\r\nab\r\n", "the bulk string at byte 0 is malformed"),
            (b"$1\r\nabc\r\n", "the bulk string at byte 0 is malformed"),
            (b"$?\r\n", "the bulk string at byte 0 is malformed"),
            (
                b"$99999999999999999999\r\n",
                "the bulk string at byte 0 is malformed",
            ),
            (
                b"=3\r\ntxt\r\n",
                "the verbatim string at byte 0 is malformed",
            ),
            (b"*-2\r\n", "the array at byte 0 is malformed"),
            (
                b"%9223372036854775808\r\n",
                "the map at byte 0 is malformed",
            ),
            (
                b"*1\r\n*1\r\n%1\r\n+k\r\n*1\r\n*1\r\n:1\r\n",
                "at byte 20 it nests deeper than 4 levels; make it flatter",
            ),
            (
                &long,
                "it has 1009 bytes, the limit is 1000; raise max_reply, or reply with less",
            ),
        ];
        for (input, expected) in cases {
            let said = to(Protocol::Resp3, input).expect_err(expected).to_string();
            assert_eq!(said, *expected, "{}", input.escape_ascii());
        }
    }

    #[test]
    fn deep_input_is_refused_without_recursion() {
        let deep = b"*1\r\n".repeat(1 << 20);
        let bounds = ReplyBounds {
            bytes_max: usize::MAX,
            depth_max: usize::MAX,
        };
        let mut out = Encoder::new(Protocol::Resp2);
        assert!(transcode(&deep, &bounds, &mut out).is_err());
        assert_eq!(measure(&deep, &bounds), Ok(None));
    }

    #[test]
    fn a_value_is_measured_as_it_arrives() {
        let input = b"%1\r\n+a\r\n*2\r\n:1\r\n$2\r\nxy\r\nrest";
        let whole = input.len() - 4;
        for length in 0..=input.len() {
            let expected = (length >= whole).then_some(whole);
            assert_eq!(measure(&input[..length], &BOUNDS), Ok(expected));
        }
    }

    #[test]
    fn random_bytes_never_panic_and_transcoding_is_stable() {
        let pieces: [&[u8]; 22] = [
            b"*", b"%", b"|", b"~", b">", b"$", b"!", b"=", b":", b",", b"(", b"#", b"_", b"+",
            b"1\r\n", b"2\r\n", b"0\r\n", b"-1\r\n", b"a", b"\r\n", b"t\r\n", b"txt:",
        ];
        let mut state: u64 = 7;
        let mut accepted = 0;
        for _ in 0..300_000 {
            let mut next = |bound: usize| {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                (state >> 33) as usize % bound
            };
            let input: Vec<u8> = (0..1 + next(12))
                .flat_map(|_| pieces[next(pieces.len())].iter().copied())
                .collect();
            let mut once = Encoder::new(Protocol::Resp3);
            if transcode(&input, &BOUNDS, &mut once).is_err() {
                assert!(once.is_empty());
                continue;
            }
            accepted += 1;
            // The output is one value again, and the same one.
            let mut twice = Encoder::new(Protocol::Resp3);
            assert_eq!(transcode(once.bytes(), &BOUNDS, &mut twice), Ok(()));
            assert_eq!(once.bytes(), twice.bytes());
            assert_eq!(measure(once.bytes(), &BOUNDS), Ok(Some(once.len())));
        }
        assert!(accepted > 1000);
    }
}
