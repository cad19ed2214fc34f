//! Requests as guests write them, and responses as guests read them.
//!
//! A request is a RESP array of bulk strings: method, URL, body, then the name and value of each header.
//! A name that begins with a colon is an option of the request: `:timeout`, in milliseconds, and
//! `:redirects`, the most redirections to follow. A response is a RESP array: the status as an integer,
//! the URL that answered, the body, then the name and value of each header. Lengths come before bytes,
//! so no value can end a header.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use ferrite_protocol::resp::{Encoder, Protocol};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};

use super::method::Method;
use super::url::HttpUrl;
use crate::error::Quoted;

/// Most headers of a request.
const HEADERS_MAX: usize = 64;

/// Most bytes of a request's headers.
const HEADER_BYTES_MAX: usize = 32 << 10;

/// Headers that the host sets itself, or that say how the connection is used.
static HEADERS_OF_THE_HOST: [HeaderName; 13] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::EXPECT,
    header::HOST,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("http2-settings"),
];

/// A request that is well formed.
#[derive(Clone, Debug)]
pub(crate) struct OutgoingRequest {
    pub(crate) method: Method,
    pub(crate) url: HttpUrl,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// Longest duration, if the guest says one.
    pub(crate) timeout: Option<Duration>,
    /// Most redirections to follow, if the guest says a number.
    pub(crate) redirects: Option<u32>,
    /// False if only the head of the response counts, whatever its body is.
    pub(crate) reads_body: bool,
}

/// A response, with its body unpacked.
#[derive(Clone, Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) url: HttpUrl,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

/// Reason why a request has no response. The guest gets it as a RESP error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RequestFailure {
    pub(crate) code: FailureCode,
    pub(crate) text: Box<str>,
}

/// First word of such an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FailureCode {
    /// The request is malformed.
    Invalid,
    /// A limit of the server was reached.
    Limit,
    /// The host's address may not be reached.
    Address,
    /// There is no such host.
    Dns,
    /// The host takes no connection.
    Connect,
    /// The certificate is wrong, or TLS failed.
    Tls,
    /// The request's time is over.
    Timeout,
    /// A redirection leads where the function may not go.
    Redirect,
    /// The response is no HTTP, or ended early.
    Protocol,
    /// The call cannot make requests.
    Unavailable,
}

impl FailureCode {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Invalid => "INVALID",
            Self::Limit => "LIMIT",
            Self::Address => "ADDRESS",
            Self::Dns => "DNS",
            Self::Connect => "CONNECT",
            Self::Tls => "TLS",
            Self::Timeout => "TIMEOUT",
            Self::Redirect => "REDIRECT",
            Self::Protocol => "PROTOCOL",
            Self::Unavailable => "UNAVAILABLE",
        }
    }
}

impl RequestFailure {
    pub(crate) fn new(code: FailureCode, text: impl Into<Box<str>>) -> Self {
        let text = text.into();
        Self { code, text }
    }

    fn invalid(text: impl Into<Box<str>>) -> Self {
        Self::new(FailureCode::Invalid, text)
    }

    /// Returns the RESP error.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut reply = Encoder::new(Protocol::Resp2);
        reply.error_display(self);
        reply.take()
    }
}

impl fmt::Display for RequestFailure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.text.replace(char::is_control, " ");
        write!(out, "{} {text}", self.code.as_str())
    }
}

impl std::error::Error for RequestFailure {}

impl OutgoingRequest {
    /// Reads a request from the strings of its array.
    pub(crate) fn read(words: &[&[u8]]) -> Result<Self, RequestFailure> {
        let [method, url, body, headers @ ..] = words else {
            return Err(RequestFailure::invalid(
                "a request is an array of method, URL, body, and the name and value of each header",
            ));
        };
        let method = str::from_utf8(method).ok().and_then(Method::parse);
        let method = method.ok_or_else(|| {
            let written = Quoted(words[0]);
            RequestFailure::invalid(format!(
                "unknown method {written}; there are {}",
                super::method::Methods::ALL
            ))
        })?;
        let url = str::from_utf8(url)
            .map_err(|_| RequestFailure::invalid("the URL is not ASCII; percent-encode it"))?;
        let url =
            HttpUrl::parse(url).map_err(|error| RequestFailure::invalid(error.to_string()))?;
        let mut request = Self {
            method,
            url,
            headers: HeaderMap::new(),
            body: Bytes::copy_from_slice(body),
            timeout: None,
            redirects: None,
            reads_body: true,
        };
        let (pairs, rest) = headers.as_chunks::<2>();
        if !rest.is_empty() {
            return Err(RequestFailure::invalid(
                "the last header has a name and no value",
            ));
        }
        if pairs.len() > HEADERS_MAX {
            return Err(RequestFailure::invalid(format!(
                "the request has {} headers, the limit is {HEADERS_MAX}",
                pairs.len()
            )));
        }
        let header_bytes: usize = headers.iter().map(|word| word.len()).sum();
        if header_bytes > HEADER_BYTES_MAX {
            return Err(RequestFailure::invalid(format!(
                "the headers have {header_bytes} bytes, the limit is {HEADER_BYTES_MAX}"
            )));
        }
        for [name, value] in pairs {
            match name.strip_prefix(b":") {
                Some(option) => request.set_option(option, value)?,
                None => request.add_header(name, value)?,
            }
        }
        Ok(request)
    }

    fn set_option(&mut self, name: &[u8], value: &[u8]) -> Result<(), RequestFailure> {
        let digits = value.iter().all(u8::is_ascii_digit);
        let number = str::from_utf8(value)
            .ok()
            .and_then(|text| text.parse::<u32>().ok());
        let number = number.filter(|_| digits).ok_or_else(|| {
            let (name, value) = (Quoted(name), Quoted(value));
            RequestFailure::invalid(format!("option {name}: {value} is no whole number"))
        })?;
        match name {
            b"timeout" => self.timeout = Some(Duration::from_millis(number.into())),
            b"redirects" => self.redirects = Some(number),
            _ => {
                return Err(RequestFailure::invalid(format!(
                    "unknown option {}; there are :timeout and :redirects",
                    Quoted(name)
                )));
            }
        }
        Ok(())
    }

    fn add_header(&mut self, name: &[u8], value: &[u8]) -> Result<(), RequestFailure> {
        let header = HeaderName::from_bytes(name).map_err(|_| {
            RequestFailure::invalid(format!("{} is no name of a header", Quoted(name)))
        })?;
        if HEADERS_OF_THE_HOST.contains(&header) {
            return Err(RequestFailure::invalid(format!(
                "the header {header} is set by the host; leave it out"
            )));
        }
        let value = HeaderValue::from_bytes(value).map_err(|_| {
            RequestFailure::invalid(format!(
                "the value of the header {header} has a control character"
            ))
        })?;
        self.headers.append(header, value);
        Ok(())
    }
}

impl Response {
    /// Returns the response as the guest reads it.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut reply = Encoder::new(Protocol::Resp2);
        reply.array(3 + 2 * self.headers.len());
        reply.int(self.status.into());
        reply.bulk_display(&self.url);
        reply.bulk(&self.body);
        for (name, value) in &self.headers {
            reply.bulk(name.as_str().as_bytes());
            reply.bulk(value.as_bytes());
        }
        reply.take()
    }
}

#[cfg(test)]
mod tests {
    use super::OutgoingRequest;

    fn read(words: &[&str]) -> Result<OutgoingRequest, String> {
        let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
        OutgoingRequest::read(&words).map_err(|failure| failure.to_string())
    }

    #[test]
    fn a_request_has_headers_and_options() {
        let request = read(&[
            "POST",
            "https://example.com/x",
            "body",
            "Accept",
            "text/plain",
            ":timeout",
            "500",
            "accept",
            "text/html",
            ":redirects",
            "0",
        ])
        .expect("a request");
        assert_eq!(&request.body[..], b"body");
        assert_eq!(request.timeout.map(|time| time.as_millis()), Some(500));
        assert_eq!(request.redirects, Some(0));
        let accepted: Vec<_> = request.headers.get_all("accept").iter().collect();
        assert_eq!(accepted, ["text/plain", "text/html"]);
    }

    #[test]
    fn nothing_gets_into_a_header_that_is_no_value() {
        let url = "https://example.com/";
        for (name, value) in [
            ("a", "b\r\nhost: evil"),
            ("a", "b\nc"),
            ("a", "b\rc"),
            ("a", "b\0c"),
            ("a\r\nb", "c"),
            ("a: b", "c"),
            ("a b", "c"),
            ("", "c"),
            ("ä", "c"),
            ("Host", "evil.example"),
            ("Content-Length", "5"),
            ("transfer-encoding", "chunked"),
            ("CONNECTION", "close"),
            ("Proxy-Authorization", "x"),
            ("Upgrade", "h2c"),
            ("TE", "trailers"),
            (":authority", "evil"),
            (":timeout", "-1"),
            (":timeout", "+1"),
            (":timeout", "1s"),
            (":timeout", "99999999999"),
            (":", "1"),
        ] {
            let error = read(&["GET", url, "", name, value]).expect_err(name);
            assert!(error.starts_with("INVALID "), "{error}");
            assert!(!error.contains(['\r', '\n']), "{error}");
        }
        for words in [
            &[][..],
            &["GET"],
            &["GET", url],
            &["GET", url, "", "a"],
            &["get", url, ""],
            &["CONNECT", url, ""],
            &["GET\r\n", url, ""],
            &["GET", "https://user@example.com/", ""],
        ] {
            let error = read(words).expect_err("no request");
            assert!(error.starts_with("INVALID "), "{error}");
        }
        let many: Vec<&str> = ["GET", url, ""].into_iter().chain(["a"; 130]).collect();
        assert!(read(&many).expect_err("too many").contains("65 headers"));
        let long = "x".repeat(40_000);
        assert!(
            read(&["GET", url, "", "a", &long])
                .expect_err("too long")
                .contains("40001")
        );
    }
}
