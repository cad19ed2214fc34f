//! Reads requests: flat arrays of bulk strings, or inline commands as typed into `telnet`.
//!
//! Does not use the `redis-protocol` crate: its decoder recurses as deep as the input asks (8 KB of
//! `*1\r\n` overflow a stack) and builds a tree, while a request is one flat list. This scanner
//! stores offsets into the connection's own buffer, remembers its progress, and refuses nested
//! values.

use std::ops::Range;

use crate::resp::inline_command::{Unbalanced, split_arguments};

/// Bounds on the size of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestBounds {
    /// One argument, in bytes; 512 MB, like `proto-max-bulk-len`.
    pub bulk_bytes_max: usize,
    /// Number of arguments of one request, including the command's name.
    pub arguments_max: usize,
    /// An inline command, in bytes; 64 KB as in Redis.
    pub inline_bytes_max: usize,
    /// A whole request, in bytes.
    pub request_bytes_max: usize,
}

impl Default for RequestBounds {
    fn default() -> Self {
        Self {
            bulk_bytes_max: 512 << 20,
            arguments_max: 1 << 20,
            inline_bytes_max: 64 << 10,
            request_bytes_max: 768 << 20,
        }
    }
}

/// Reason why bytes are no request. The connection cannot be read any further and must be closed.
///
/// The texts are those of Redis if it has one, without the code `ERR`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The number of arguments is not a number, negative or too large.
    #[error("Protocol error: invalid multibulk length")]
    InvalidCount,
    /// The length of an argument is not a number, negative or too large.
    #[error("Protocol error: invalid bulk length")]
    InvalidLength,
    /// An argument is not a bulk string, but for example a nested array.
    #[error("Protocol error: expected '$', got '{}'", .got.escape_ascii())]
    NotBulk {
        /// The byte found instead.
        got: u8,
    },
    /// An argument continues after its length.
    #[error("Protocol error: expected CRLF after bulk string")]
    NotTerminated,
    /// An inline command does not end.
    #[error("Protocol error: too big inline request")]
    InlineTooLong,
    /// An inline command has a quote that is not closed, or not followed by a blank.
    #[error("Protocol error: unbalanced quotes in request")]
    UnbalancedQuotes,
    /// All arguments together exceed [`RequestBounds::request_bytes_max`].
    #[error("Protocol error: request larger than {limit_bytes} bytes")]
    RequestTooLarge {
        /// The limit, in bytes.
        limit_bytes: usize,
    },
}

/// Progress of a scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scan {
    /// The buffer starts with one complete request of `consumed` bytes. It may have no arguments (a
    /// blank line, `*0`); Redis does not answer that.
    Complete {
        /// Bytes of the buffer that belong to the request.
        consumed: usize,
    },
    /// At least `needed` more bytes must arrive. A peer chooses that number, so grow the buffer in
    /// steps instead of reserving it at once.
    Incomplete {
        /// Number of bytes that are certainly missing.
        needed: usize,
    },
}

/// Finds the arguments of one request after the other. Allocates nothing once its buffers have
/// grown.
///
/// ```
/// use ferrite_protocol::resp::{RequestBounds, RequestScanner, Scan};
/// let mut scanner = RequestScanner::new(RequestBounds::default());
/// let buffer = b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n*1\r\n$4\r\nPI";
/// let Ok(Scan::Complete { consumed }) = scanner.scan(buffer) else { panic!() };
/// assert!(scanner.arguments(buffer).eq([b"GET".as_slice(), b"k"]));
/// assert_eq!(scanner.scan(&buffer[consumed..]), Ok(Scan::Incomplete { needed: 4 }));
/// ```
#[derive(Debug)]
pub struct RequestScanner {
    bounds: RequestBounds,
    state: State,
    /// Bytes of the current request that were parsed.
    at: usize,
    /// Location of the arguments: the caller's buffer, or `inline`.
    arguments: Vec<Range<usize>>,
    /// The arguments of an inline command, without quotes and escapes.
    inline: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing of a request was seen, or the last one is complete.
    Start,
    /// In an inline command.
    Inline,
    /// In the head of an array.
    Count,
    /// In the head of an argument; this many arguments are missing.
    Length { missing: usize },
    /// In an argument; this many arguments are missing, including this one.
    Bulk { missing: usize, length: usize },
    /// The last scan found a complete inline command or array.
    Complete { inline: bool },
}

impl RequestScanner {
    /// Creates a scanner for one connection.
    #[must_use]
    pub const fn new(bounds: RequestBounds) -> Self {
        Self {
            bounds,
            state: State::Start,
            at: 0,
            arguments: Vec::new(),
            inline: Vec::new(),
        }
    }

    /// Scans for one request at the start of `buffer`.
    ///
    /// After [`Scan::Incomplete`], call again with the same bytes and those that arrived since;
    /// bytes already parsed are not read again. After [`Scan::Complete`], call with the bytes after
    /// the request. After an error, close the connection.
    pub fn scan(&mut self, buffer: &[u8]) -> Result<Scan, RequestError> {
        if matches!(self.state, State::Start | State::Complete { .. }) {
            self.arguments.clear();
            self.inline.clear();
            self.at = 0;
            self.state = match buffer.first() {
                None => {
                    self.state = State::Start;
                    return Ok(Scan::Incomplete { needed: 1 });
                }
                Some(b'*') => State::Count,
                Some(_) => State::Inline,
            };
        }
        loop {
            let step = match self.state {
                State::Inline => return self.scan_inline(buffer),
                State::Count => self.scan_count(buffer)?,
                State::Length { missing } => self.scan_length(buffer, missing)?,
                State::Bulk { missing, length } => self.scan_bulk(buffer, missing, length)?,
                State::Start | State::Complete { .. } => {
                    return Ok(Scan::Complete { consumed: self.at });
                }
            };
            if let Some(needed) = step {
                return Ok(Scan::Incomplete { needed });
            }
        }
    }

    /// Returns the arguments of the request that the last scan completed, the command's name first.
    ///
    /// `buffer` must be the one given to that scan.
    pub fn arguments<'a>(
        &'a self,
        buffer: &'a [u8],
    ) -> impl ExactSizeIterator<Item = &'a [u8]> + Clone {
        let bytes = match self.state {
            State::Complete { inline: true } => &self.inline,
            _ => buffer,
        };
        self.arguments.iter().map(|range| &bytes[range.clone()])
    }

    /// Returns true if the last scan completed an inline command.
    #[must_use]
    pub const fn is_inline(&self) -> bool {
        matches!(self.state, State::Complete { inline: true })
    }

    /// Frees the memory of a large request.
    pub fn shrink(&mut self) {
        const KEPT_ARGUMENTS: usize = 64;
        const KEPT_BYTES: usize = 1024;
        self.arguments.shrink_to(KEPT_ARGUMENTS);
        self.inline.shrink_to(KEPT_BYTES);
    }

    /// Each step returns the number of missing bytes, or `None` if the state has advanced.
    fn scan_count(&mut self, buffer: &[u8]) -> Result<Option<usize>, RequestError> {
        let count = match read_number(&buffer[self.at + 1..]) {
            Number::Incomplete => return Ok(Some(1)),
            Number::Invalid => return Err(RequestError::InvalidCount),
            Number::Value { value, length } => {
                self.at += 1 + length;
                value
            }
        };
        if count > self.bounds.arguments_max {
            return Err(RequestError::InvalidCount);
        }
        self.state = self.next_argument(count);
        Ok(None)
    }

    fn scan_length(
        &mut self,
        buffer: &[u8],
        missing: usize,
    ) -> Result<Option<usize>, RequestError> {
        match buffer.get(self.at) {
            None => return Ok(Some(1)),
            Some(b'$') => {}
            Some(&got) => return Err(RequestError::NotBulk { got }),
        }
        let length = match read_number(&buffer[self.at + 1..]) {
            Number::Incomplete => return Ok(Some(1)),
            Number::Invalid => return Err(RequestError::InvalidLength),
            Number::Value { value, length } => {
                self.at += 1 + length;
                value
            }
        };
        if length > self.bounds.bulk_bytes_max {
            return Err(RequestError::InvalidLength);
        }
        // Both are at most `isize::MAX`: one by its bound, the other as part of a slice.
        if self.at + length > self.bounds.request_bytes_max {
            return Err(RequestError::RequestTooLarge {
                limit_bytes: self.bounds.request_bytes_max,
            });
        }
        self.state = State::Bulk { missing, length };
        Ok(None)
    }

    fn scan_bulk(
        &mut self,
        buffer: &[u8],
        missing: usize,
        length: usize,
    ) -> Result<Option<usize>, RequestError> {
        let end = self.at + length;
        match buffer.get(end..end + 2) {
            Some(b"\r\n") => {}
            Some(_) => return Err(RequestError::NotTerminated),
            None => return Ok(Some(end + 2 - buffer.len())),
        }
        self.arguments.push(self.at..end);
        self.at = end + 2;
        self.state = self.next_argument(missing - 1);
        Ok(None)
    }

    const fn next_argument(&self, missing: usize) -> State {
        if missing == 0 {
            State::Complete { inline: false }
        } else {
            State::Length { missing }
        }
    }

    fn scan_inline(&mut self, buffer: &[u8]) -> Result<Scan, RequestError> {
        let Some(found) = buffer[self.at..].iter().position(|&byte| byte == b'\n') else {
            self.at = buffer.len();
            if self.at > self.bounds.inline_bytes_max {
                return Err(RequestError::InlineTooLong);
            }
            return Ok(Scan::Incomplete { needed: 1 });
        };
        let end = self.at + found;
        if end > self.bounds.inline_bytes_max {
            return Err(RequestError::InlineTooLong);
        }
        let line = buffer[..end].strip_suffix(b"\r").unwrap_or(&buffer[..end]);
        split_arguments(line, &mut self.inline, &mut self.arguments)
            .map_err(|Unbalanced| RequestError::UnbalancedQuotes)?;
        self.at = end + 1;
        self.state = State::Complete { inline: true };
        Ok(Scan::Complete { consumed: self.at })
    }
}

enum Number {
    /// A number from 0 up, with its line end `length` bytes long.
    Value {
        value: usize,
        length: usize,
    },
    Incomplete,
    Invalid,
}

/// Parses digits and a line end. As in Redis there is no plus sign and no leading zero; there is no
/// minus sign either, because no request needs one.
fn read_number(bytes: &[u8]) -> Number {
    let mut value: usize = 0;
    for (at, &byte) in bytes.iter().enumerate() {
        match byte {
            b'0'..=b'9' => {
                let leading_zero = at == 1 && bytes[0] == b'0';
                let next = value
                    .checked_mul(10)
                    .and_then(|value| value.checked_add(usize::from(byte - b'0')));
                match next {
                    Some(next) if !leading_zero => value = next,
                    _ => return Number::Invalid,
                }
            }
            b'\r' if at > 0 => {
                return match bytes.get(at + 1) {
                    None => Number::Incomplete,
                    Some(b'\n') => Number::Value {
                        value,
                        length: at + 2,
                    },
                    Some(_) => Number::Invalid,
                };
            }
            _ => return Number::Invalid,
        }
    }
    // Endless digits overflow first.
    Number::Incomplete
}

#[cfg(test)]
mod tests {
    use super::{RequestBounds, RequestError, RequestScanner, Scan};

    const SMALL: RequestBounds = RequestBounds {
        bulk_bytes_max: 100,
        arguments_max: 10,
        inline_bytes_max: 64,
        request_bytes_max: 200,
    };

    /// Returns every request in `bytes`, if they arrive in pieces of the given sizes, in turn.
    fn requests(bytes: &[u8], pieces: &[usize]) -> Result<Vec<Vec<Vec<u8>>>, RequestError> {
        let mut scanner = RequestScanner::new(SMALL);
        let mut found = Vec::new();
        let mut buffer = Vec::new();
        let mut sizes = pieces.iter().cycle();
        let mut rest = bytes;
        loop {
            match scanner.scan(&buffer)? {
                Scan::Complete { consumed } => {
                    found.push(scanner.arguments(&buffer).map(<[u8]>::to_vec).collect());
                    buffer.drain(..consumed);
                }
                Scan::Incomplete { needed } => {
                    assert!(needed > 0);
                    if rest.is_empty() {
                        return Ok(found);
                    }
                    let size = sizes.next().map_or(1, |&size| size.clamp(1, rest.len()));
                    let (piece, after) = rest.split_at(size);
                    buffer.extend_from_slice(piece);
                    rest = after;
                }
            }
        }
    }

    fn texts(bytes: &[u8]) -> Vec<Vec<String>> {
        requests(bytes, &[usize::MAX])
            .expect("the bytes are requests")
            .into_iter()
            .map(|request| {
                request
                    .into_iter()
                    .map(|argument| argument.escape_ascii().to_string())
                    .collect()
            })
            .collect()
    }

    #[test]
    fn arrays_and_inline_commands_are_found() {
        let cases: &[(&[u8], &[&[&str]])] = &[
            (b"*1\r\n$4\r\nPING\r\n", &[&["PING"]]),
            (b"*2\r\n$3\r\nGET\r\n$0\r\n\r\n", &[&["GET", ""]]),
            (b"*1\r\n$2\r\n\r\n\r\n", &[&["\\r\\n"]]),
            (
                b"*0\r\nPING\r\n\r\n\nGET  k\n",
                &[&[], &["PING"], &[], &[], &["GET", "k"]],
            ),
            (
                b"SET k \"a b\\n\\x41\\xff\\\"\\q\" 'it\\'s \\n'\r\n",
                &[&["SET", "k", "a b\\nA\\xff\\\"q", "it\\'s \\\\n"]],
            ),
            (b"a\"b\" \"\" '' \"\\xg1\"\n", &[&["ab", "", "", "xg1"]]),
            (b"\t\x0b PING\x0b\r\n", &[&["PING\\x0b"]]),
            (b"GET a\0b c\r\n", &[&["GET", "a"]]),
        ];
        for (bytes, expected) in cases {
            assert_eq!(texts(bytes), *expected, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn what_is_no_request_is_refused_in_the_words_of_redis() {
        let long_inline = [b'a'; 65];
        let many_digits = [b"*1\r\n$".as_slice(), &[b'1'; 30]].concat();
        let total = [
            b"*3\r\n".to_vec(),
            [b"$95\r\n".as_slice(), &[b'a'; 95], b"\r\n"]
                .concat()
                .repeat(3),
        ]
        .concat();
        let cases: &[(&[u8], &str)] = &[
            (b"*x\r\n", "Protocol error: invalid multibulk length"),
            (b"*-1\r\n", "Protocol error: invalid multibulk length"),
            (b"*\r\n", "Protocol error: invalid multibulk length"),
            (b"*1\rx", "Protocol error: invalid multibulk length"),
            (b"*01\r\n", "Protocol error: invalid multibulk length"),
            (b"*11\r\n", "Protocol error: invalid multibulk length"),
            (
                b"*99999999999999999999\r\n",
                "Protocol error: invalid multibulk length",
            ),
            (
                b"*1\r\n*1\r\n$4\r\nPING\r\n",
                "Protocol error: expected '$', got '*'",
            ),
            (b"*1\r\n:1\r\n", "Protocol error: expected '$', got ':'"),
            (b"*1\r\n\n", "Protocol error: expected '$', got '\\n'"),
            (b"*1\r\n$-1\r\n", "Protocol error: invalid bulk length"),
            (b"*1\r\n$101\r\n", "Protocol error: invalid bulk length"),
            (
                b"*1\r\n$18446744073709551616\r\n",
                "Protocol error: invalid bulk length",
            ),
            (
                b"*1\r\n$1\r\nabc",
                "Protocol error: expected CRLF after bulk string",
            ),
            (&many_digits, "Protocol error: invalid bulk length"),
            (&total, "Protocol error: request larger than 200 bytes"),
            (&long_inline, "Protocol error: too big inline request"),
            (b"GET \"k\n", "Protocol error: unbalanced quotes in request"),
            (b"GET 'k\n", "Protocol error: unbalanced quotes in request"),
            (
                b"GET \"k\"x\n",
                "Protocol error: unbalanced quotes in request",
            ),
        ];
        for (bytes, expected) in cases {
            for pieces in [&[usize::MAX][..], &[1], &[3, 7]] {
                let error = requests(bytes, pieces).expect_err(expected);
                assert_eq!(error.to_string(), *expected, "{}", bytes.escape_ascii());
            }
        }
    }

    #[test]
    fn it_says_how_much_is_missing() {
        let mut scanner = RequestScanner::new(RequestBounds::default());
        for (bytes, needed) in [
            (&b""[..], 1),
            (b"*", 1),
            (b"*2\r\n", 1),
            (b"*2\r\n$100\r", 1),
            (b"*2\r\n$100\r\n", 102),
            (b"*2\r\n$100\r\nab", 100),
        ] {
            assert_eq!(scanner.scan(bytes), Ok(Scan::Incomplete { needed }));
        }
    }

    #[test]
    fn a_count_alone_reserves_nothing() {
        let mut scanner = RequestScanner::new(RequestBounds::default());
        assert_eq!(
            scanner.scan(b"*1048576\r\n"),
            Ok(Scan::Incomplete { needed: 1 })
        );
        assert_eq!(scanner.arguments.capacity(), 0);
    }

    /// A small generator, so that a failure can be repeated from its seed.
    struct Random(u64);

    impl Random {
        fn below(&mut self, bound: usize) -> usize {
            self.0 = self
                .0
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) as usize % bound
        }
    }

    #[test]
    fn requests_survive_any_split() {
        for seed in 0..2_000 {
            let mut random = Random(seed);
            let mut bytes = Vec::new();
            let mut expected = Vec::new();
            for _ in 0..1 + random.below(5) {
                let request: Vec<Vec<u8>> = (0..random.below(6))
                    .map(|_| {
                        (0..random.below(20))
                            .map(|_| random.below(256) as u8)
                            .collect()
                    })
                    .collect();
                bytes.extend_from_slice(format!("*{}\r\n", request.len()).as_bytes());
                for argument in &request {
                    bytes.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
                    bytes.extend_from_slice(argument);
                    bytes.extend_from_slice(b"\r\n");
                }
                expected.push(request);
            }
            let pieces: Vec<usize> = (0..1 + random.below(4)).map(|_| random.below(12)).collect();
            assert_eq!(requests(&bytes, &pieces), Ok(expected), "seed {seed}");
        }
    }

    #[test]
    fn random_bytes_never_panic_and_splits_do_not_matter() {
        let alphabet = b"*$0123456789-\r\n\r\n\"'\\x ab\0\xff:";
        for seed in 0..20_000 {
            let mut random = Random(seed);
            let bytes: Vec<u8> = (0..random.below(60))
                .map(|_| alphabet[random.below(alphabet.len())])
                .collect();
            let pieces: Vec<usize> = (0..1 + random.below(4)).map(|_| random.below(9)).collect();
            assert_eq!(
                requests(&bytes, &[usize::MAX]),
                requests(&bytes, &pieces),
                "seed {seed}: {}",
                bytes.escape_ascii()
            );
        }
    }
}
