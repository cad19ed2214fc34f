//! A request of the outbox, as its record holds it.
//!
//! The name of the record is `outbox/` and the number of the request, 16 hex digits; of one that was
//! given up, `outbox-dead/` and the number. The value is a version (1 byte) and the fields in the order
//! of [`OutboxMessage`]. Integers are big-endian; a text has its length (u32) before it, and a list its
//! count (u32).

use ferrite_protocol::record;
use hyper::header::{HeaderName, HeaderValue};

use crate::policy::network::message::{OutgoingRequest, RequestFailure};

/// Begins the names of the records of requests that wait.
pub(crate) const PREFIX: &[u8] = record::REQUEST;

/// Begins the names of the records of requests that were given up.
pub(crate) const DEAD_PREFIX: &[u8] = record::DEAD_REQUEST;

/// The header by which a receiver tells a request that it got before.
pub(crate) const KEY_HEADER: HeaderName = HeaderName::from_static("idempotency-key");

const VERSION: u8 = 1;

/// A request that is sent after its call has committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OutboxMessage {
    /// Scheme, host and port of the URL.
    pub(crate) origin: Box<str>,
    /// Function whose permissions it needs.
    pub(crate) function: Box<str>,
    /// Time of the call, in milliseconds since 1970.
    pub(crate) at: i64,
    /// Number of tries that have begun.
    pub(crate) tries: u32,
    /// The last error of a request that was given up.
    pub(crate) error: Box<str>,
    /// Method, URL, body, and names and values of the headers, as the guest wrote them.
    pub(crate) words: Vec<Box<[u8]>>,
}

impl OutboxMessage {
    /// Makes the message of a request that its function may make; `words` are its parts. A request
    /// without an idempotency key gets `key`.
    pub(crate) fn new(
        function: &str,
        request: &OutgoingRequest,
        words: &[&[u8]],
        key: &HeaderValue,
        at: i64,
    ) -> Self {
        let mut words: Vec<Box<[u8]>> = words.iter().map(|&word| word.into()).collect();
        if !request.headers.contains_key(KEY_HEADER) {
            words.push(KEY_HEADER.as_str().as_bytes().into());
            words.push(key.as_bytes().into());
        }
        Self {
            origin: request.url.origin().into(),
            function: function.into(),
            at,
            tries: 0,
            error: Box::default(),
            words,
        }
    }

    /// Returns the request.
    ///
    /// # Errors
    ///
    /// It is malformed, so the record is damaged.
    pub(crate) fn request(&self) -> Result<OutgoingRequest, RequestFailure> {
        let words: Vec<&[u8]> = self.words.iter().map(|word| &**word).collect();
        OutgoingRequest::read(&words)
    }

    /// Returns the content of its record.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let Self {
            origin,
            function,
            at,
            tries,
            error,
            words,
        } = self;
        let mut bytes = vec![VERSION];
        put(&mut bytes, origin.as_bytes());
        put(&mut bytes, function.as_bytes());
        bytes.extend_from_slice(&at.to_be_bytes());
        bytes.extend_from_slice(&tries.to_be_bytes());
        put(&mut bytes, error.as_bytes());
        // A request is bounded, so lengths and counts fit.
        bytes.extend_from_slice(&(words.len() as u32).to_be_bytes());
        words.iter().for_each(|word| put(&mut bytes, word));
        bytes
    }

    /// Reads the content of a record; `None` if it is damaged.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes.strip_prefix(&[VERSION])?;
        let mut parsed = Self {
            origin: take_text(&mut rest)?,
            function: take_text(&mut rest)?,
            at: i64::from_be_bytes(take_array(&mut rest)?),
            tries: u32::from_be_bytes(take_array(&mut rest)?),
            error: take_text(&mut rest)?,
            words: Vec::new(),
        };
        for _ in 0..u32::from_be_bytes(take_array(&mut rest)?) {
            parsed.words.push(take(&mut rest)?.into());
        }
        rest.is_empty().then_some(parsed)
    }
}

/// Reads the origin alone, which stands first; `None` if it is damaged.
pub(crate) fn origin_of(bytes: &[u8]) -> Option<&str> {
    let mut rest = bytes.strip_prefix(&[VERSION])?;
    std::str::from_utf8(take(&mut rest)?).ok()
}

/// Returns the name of the record of request `number`.
pub(crate) fn record_name(prefix: &[u8], number: u64) -> Vec<u8> {
    [prefix, format!("{number:016x}").as_bytes()].concat()
}

/// Returns the number of the request whose record has this name.
pub(crate) fn number_of(prefix: &[u8], name: &[u8]) -> Option<u64> {
    let digits = std::str::from_utf8(name.strip_prefix(prefix)?).ok()?;
    u64::from_str_radix(digits, 16).ok()
}

/// Makes an idempotency key, which is random: a UUID of version 4.
///
/// # Errors
///
/// The system gives no random bytes.
pub(crate) fn new_key() -> Result<HeaderValue, getrandom::Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    let number = u128::from_be_bytes(bytes) & !(0xf << 76 | 0xc << 60) | (0x4 << 76 | 0x8 << 60);
    let digits = format!("{number:032x}");
    let text = [
        &digits[..8],
        &digits[8..12],
        &digits[12..16],
        &digits[16..20],
        &digits[20..],
    ]
    .join("-");
    // Digits and hyphens make a header.
    Ok(HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("")))
}

fn put(into: &mut Vec<u8>, bytes: &[u8]) {
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

#[cfg(test)]
mod tests {
    use super::{KEY_HEADER, OutboxMessage, new_key, number_of, origin_of, record_name};
    use crate::policy::network::message::OutgoingRequest;

    fn message(words: &[&str]) -> OutboxMessage {
        let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
        let request = OutgoingRequest::read(&words).expect("a request");
        let key = new_key().expect("random bytes");
        OutboxMessage::new("f", &request, &words, &key, -5)
    }

    #[test]
    fn a_message_is_read_as_it_was_written_and_damage_is_noticed() {
        let mut written = message(&["POST", "https://example.com:8443/a?b", "body", "a", "b"]);
        written.error = "HTTP 500".into();
        written.tries = 7;
        let bytes = written.to_bytes();
        assert_eq!(origin_of(&bytes), Some("https://example.com:8443"));
        assert_eq!(OutboxMessage::parse(&bytes), Some(written));
        for len in 0..bytes.len() {
            assert_eq!(OutboxMessage::parse(&bytes[..len]), None, "{len}");
        }
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut changed = bytes.clone();
                changed[at] ^= 1 << bit;
                let _ = origin_of(&changed);
                let again = OutboxMessage::parse(&changed).map(|message| message.to_bytes());
                assert!(again.is_none_or(|again| again == changed), "{at} {bit}");
            }
        }
        let name = record_name(b"outbox/", 10);
        assert_eq!(number_of(b"outbox/", &name), Some(10));
        assert_eq!(number_of(b"outbox-dead/", &name), None);
    }

    #[test]
    fn a_request_without_a_key_gets_one_and_keeps_its_own() {
        let url = "https://example.com/";
        let request = message(&["POST", url, ""]).request().expect("a request");
        let key = request.headers[KEY_HEADER].to_str().expect("text");
        let hyphens: Vec<_> = key.match_indices('-').map(|(at, _)| at).collect();
        assert_eq!((key.len(), hyphens), (36, vec![8, 13, 18, 23]), "{key}");
        assert!(
            key[14..].starts_with('4') && "89ab".contains(&key[19..20]),
            "{key}"
        );
        let own = message(&["POST", url, "", "Idempotency-Key", "order 7"]);
        let request = own.request().expect("a request");
        let keys: Vec<_> = request.headers.get_all(KEY_HEADER).iter().collect();
        assert_eq!(keys, ["order 7"]);
    }
}
