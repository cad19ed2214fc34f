//! URLs of requests, read strictly: one text, one meaning.
//!
//! Servers and libraries disagree about odd URLs, and an attacker uses that: the check reads one host,
//! the connection goes to another. So anything odd is refused rather than repaired, and the request is
//! made to exactly the parts that were read here.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Longest URL, in bytes.
pub(crate) const URL_BYTES_MAX: usize = 8 << 10;

/// An `http` or `https` URL without user name, password and fragment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HttpUrl {
    pub(crate) https: bool,
    pub(crate) host: Host,
    pub(crate) port: u16,
    /// Begins with a slash and has no `.` or `..` segments.
    pub(crate) path: Box<str>,
    /// Without its question mark.
    pub(crate) query: Option<Box<str>>,
}

/// The host of a URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Host {
    /// A name in lower case, without a dot at its end.
    Name(Box<str>),
    /// An address.
    Address(IpAddr),
}

/// Reason why a text is no URL that a function may ask for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UrlError {
    #[error("the URL has {0} bytes, the limit is {URL_BYTES_MAX}")]
    TooLong(usize),
    #[error("the URL does not begin with https:// or http://")]
    Scheme,
    #[error("the URL has the byte '{}' at {offset}; percent-encode it", .byte.escape_ascii())]
    Byte { byte: u8, offset: usize },
    #[error("the URL has a user name or password; put it into the header authorization")]
    UserInfo,
    #[error("the host {0:?} is no name of letters, digits, hyphens and dots, and no address")]
    Host(Box<str>),
    #[error("the port {0:?} is not a number from 1 to 65535")]
    Port(Box<str>),
    #[error("the path has a . or .. segment; write the path without it")]
    Dots,
}

impl HttpUrl {
    /// Reads a URL. A fragment is left out, because it is never sent.
    pub(crate) fn parse(text: &str) -> Result<Self, UrlError> {
        if text.len() > URL_BYTES_MAX {
            return Err(UrlError::TooLong(text.len()));
        }
        check_bytes(text)?;
        let text = text.split_once('#').map_or(text, |(before, _)| before);
        let (scheme, rest) = text.split_once("://").ok_or(UrlError::Scheme)?;
        let https = scheme_is_https(scheme).ok_or(UrlError::Scheme)?;
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, rest) = rest.split_at(end);
        let (host, port) = Host::with_port(authority)?;
        let (path, query) = match rest.split_once('?') {
            Some((path, query)) => (path, Some(query.into())),
            None => (rest, None),
        };
        let path = if path.is_empty() { "/" } else { path };
        if has_dots(path) {
            return Err(UrlError::Dots);
        }
        Ok(Self {
            https,
            host,
            port: match port {
                Some(port) => parse_port(port).ok_or_else(|| UrlError::Port(port.into()))?,
                None => default_port(https),
            },
            path: path.into(),
            query,
        })
    }

    /// Reads the target of a redirection, which may be relative to this URL.
    pub(crate) fn join(&self, location: &str) -> Result<Self, UrlError> {
        let location = location
            .split_once('#')
            .map_or(location, |(before, _)| before);
        let has_scheme = location
            .split_once("://")
            .is_some_and(|(scheme, _)| scheme.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        if has_scheme {
            return Self::parse(&without_dots(location));
        }
        let scheme = if self.https { "https" } else { "http" };
        if let Some(rest) = location.strip_prefix("//") {
            return Self::parse(&without_dots(&format!("{scheme}://{rest}")));
        }
        let origin = self.origin();
        let joined = match location.chars().next() {
            None => format!("{origin}{}", self.path_and_query()),
            Some('/') => format!("{origin}{location}"),
            Some('?') => format!("{origin}{}{location}", self.path),
            Some(_) => {
                let folder = self.path.rfind('/').map_or("/", |end| &self.path[..=end]);
                format!("{origin}{folder}{location}")
            }
        };
        Self::parse(&without_dots(&joined))
    }

    /// Returns scheme, host and port.
    pub(crate) fn origin(&self) -> String {
        let scheme = if self.https { "https" } else { "http" };
        if self.port == default_port(self.https) {
            format!("{scheme}://{}", self.host)
        } else {
            format!("{scheme}://{}:{}", self.host, self.port)
        }
    }

    /// Returns true if both have the same scheme, host and port.
    pub(crate) fn has_origin_of(&self, other: &Self) -> bool {
        (self.https, &self.host, self.port) == (other.https, &other.host, other.port)
    }

    /// Returns path and query, as a request names them.
    pub(crate) fn path_and_query(&self) -> String {
        match &self.query {
            Some(query) => format!("{}?{query}", self.path),
            None => self.path.to_string(),
        }
    }

    /// Returns the URL without its query, which may hold secrets.
    pub(crate) fn without_query(&self) -> String {
        format!("{}{}", self.origin(), self.path)
    }
}

impl fmt::Display for HttpUrl {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}{}", self.origin(), self.path_and_query())
    }
}

impl Host {
    /// Reads a host and the text of its port, if there is one.
    pub(super) fn with_port(authority: &str) -> Result<(Self, Option<&str>), UrlError> {
        if authority.contains('@') {
            return Err(UrlError::UserInfo);
        }
        let wrong = || UrlError::Host(authority.into());
        if let Some(rest) = authority.strip_prefix('[') {
            let (address, port) = rest.split_once(']').ok_or_else(wrong)?;
            let address: Ipv6Addr = address.parse().map_err(|_| wrong())?;
            let port = match port {
                "" => None,
                port => Some(port.strip_prefix(':').ok_or_else(wrong)?),
            };
            return Ok((Self::Address(address.into()), port));
        }
        let (host, port) = match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        };
        Ok((Self::parse(host)?, port))
    }

    /// Reads a name or an IPv4 address.
    pub(super) fn parse(host: &str) -> Result<Self, UrlError> {
        let wrong = || UrlError::Host(host.into());
        let is_label = |label: &str| {
            (1..=63).contains(&label.len())
                && label
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        };
        if host.len() > 253 || !host.split('.').all(is_label) {
            return Err(wrong());
        }
        let last = host.rsplit('.').next().unwrap_or_default();
        let hexadecimal = last
            .get(..2)
            .is_some_and(|start| start.eq_ignore_ascii_case("0x"));
        if hexadecimal || last.bytes().all(|byte| byte.is_ascii_digit()) {
            // Other spellings of an address, such as 0x7f.1 or 127.1, are none.
            let address: Ipv4Addr = host.parse().map_err(|_| wrong())?;
            return Ok(Self::Address(address.into()));
        }
        Ok(Self::Name(host.to_ascii_lowercase().into()))
    }
}

impl fmt::Display for Host {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => out.write_str(name),
            Self::Address(IpAddr::V4(address)) => write!(out, "{address}"),
            Self::Address(IpAddr::V6(address)) => write!(out, "[{address}]"),
        }
    }
}

/// Returns the port that a URL without one means.
pub(super) const fn default_port(https: bool) -> u16 {
    if https { 443 } else { 80 }
}

/// Reads a port: digits alone, and not 0.
pub(super) fn parse_port(port: &str) -> Option<u16> {
    let digits = port.bytes().all(|byte| byte.is_ascii_digit());
    port.parse().ok().filter(|&port| digits && port != 0)
}

/// Returns true for `https`, false for `http`.
pub(super) fn scheme_is_https(scheme: &str) -> Option<bool> {
    if scheme.eq_ignore_ascii_case("https") {
        Some(true)
    } else if scheme.eq_ignore_ascii_case("http") {
        Some(false)
    } else {
        None
    }
}

/// Refuses every byte that a URL cannot have.
fn check_bytes(text: &str) -> Result<(), UrlError> {
    let bytes = text.as_bytes();
    for (offset, &byte) in bytes.iter().enumerate() {
        let good = match byte {
            b'%' => bytes
                .get(offset + 1..offset + 3)
                .is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)),
            byte => byte.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&'()*+,;=".contains(&byte),
        };
        if !good {
            return Err(UrlError::Byte { byte, offset });
        }
    }
    Ok(())
}

/// Returns true if a segment of the path is `.` or `..`, also if a server would only see that after it
/// has decoded the path.
fn has_dots(path: &str) -> bool {
    let mut decoded = path.to_owned();
    // Decoded until nothing changes: some servers decode more than once.
    for _ in 0..4 {
        let next = decoded
            .replace("%2e", ".")
            .replace("%2E", ".")
            .replace("%2f", "/")
            .replace("%2F", "/")
            .replace("%5c", "/")
            .replace("%5C", "/")
            .replace("%25", "%");
        if next == decoded {
            break;
        }
        decoded = next;
    }
    decoded.split('/').any(|segment| {
        let name = segment.split_once(';').map_or(segment, |(name, _)| name);
        matches!(name, "." | "..")
    })
}

/// Removes the dot segments from a URL's path as RFC 3986 says, section 5.2.4.
fn without_dots(url: &str) -> String {
    let url = url.split_once('#').map_or(url, |(before, _)| before);
    let (url, query) = match url.split_once('?') {
        Some((url, query)) => (url, Some(query)),
        None => (url, None),
    };
    let after_scheme = url.find("://").map_or(0, |at| at + 3);
    let path_at = url[after_scheme..].find('/').map(|at| at + after_scheme);
    let mut result = match path_at {
        None => url.to_owned(),
        Some(path_at) => {
            let (origin, path) = url.split_at(path_at);
            let mut kept: Vec<&str> = Vec::new();
            let segments: Vec<&str> = path[1..].split('/').collect();
            for (index, segment) in segments.iter().enumerate() {
                let last = index + 1 == segments.len();
                match *segment {
                    "." if last => kept.push(""),
                    "." => {}
                    ".." => {
                        kept.pop();
                        if last {
                            kept.push("");
                        }
                    }
                    segment => kept.push(segment),
                }
            }
            format!("{origin}/{}", kept.join("/"))
        }
    };
    if let Some(query) = query {
        result.push('?');
        result.push_str(query);
    }
    result
}

#[cfg(test)]
mod tests {
    use super::HttpUrl;

    #[test]
    fn plain_urls_are_read_and_written() {
        for (text, expected) in [
            ("https://example.com", "https://example.com/"),
            (
                "HTTPS://Example.COM:443/a?b=c#d",
                "https://example.com/a?b=c",
            ),
            (
                "http://example.com:8080/%7Ea/b.c",
                "http://example.com:8080/%7Ea/b.c",
            ),
            ("http://127.0.0.1/", "http://127.0.0.1/"),
            (
                "https://[2606:4700::1111]:8443/x",
                "https://[2606:4700::1111]:8443/x",
            ),
            ("http://[::ffff:127.0.0.1]/", "http://[::ffff:127.0.0.1]/"),
            (
                "https://a_b.example/..a/b../...",
                "https://a_b.example/..a/b../...",
            ),
            ("https://example.com?q", "https://example.com/?q"),
        ] {
            let url = HttpUrl::parse(text).expect(text);
            assert_eq!(url.to_string(), expected);
        }
    }

    #[test]
    fn whatever_another_reader_could_take_otherwise_is_refused() {
        for (text, expected) in [
            ("", "does not begin with"),
            ("ftp://example.com/", "does not begin with"),
            ("//example.com/", "does not begin with"),
            ("https:example.com", "does not begin with"),
            ("javascript://example.com/", "does not begin with"),
            ("https://user@example.com/", "a user name or password"),
            ("https://user:word@example.com/", "a user name or password"),
            (
                "https://good.example@evil.example/",
                "a user name or password",
            ),
            (
                "https://good.example:443@evil.example/",
                "a user name or password",
            ),
            ("https://evil.example\\@good.example/", "percent-encode"),
            ("https://evil.example\\.good.example/", "percent-encode"),
            ("https://example.com/\r\nhost: evil", "percent-encode"),
            ("https://example.com/a b", "percent-encode"),
            ("https://example.com/\t", "percent-encode"),
            ("https://example.com/\0", "percent-encode"),
            ("https://example.com/ä", "percent-encode"),
            ("https://exämple.com/", "percent-encode"),
            ("https://example.com/%", "percent-encode"),
            ("https://example.com/%0g", "percent-encode"),
            ("https://example%2ecom/", "no name of letters"),
            ("https://example.com./", "no name of letters"),
            ("https://.example.com/", "no name of letters"),
            ("https://a..example.com/", "no name of letters"),
            ("https:///path", "no name of letters"),
            ("https://:443/", "no name of letters"),
            ("http://127.1/", "no name of letters"),
            ("http://2130706433/", "no name of letters"),
            ("http://0177.0.0.1/", "no name of letters"),
            ("http://0x7f.0.0.1/", "no name of letters"),
            ("http://0x7f000001/", "no name of letters"),
            ("http://127.0.0.0x1/", "no name of letters"),
            ("http://127.0.0.1.5/", "no name of letters"),
            ("http://[::1/", "no name of letters"),
            ("http://[::1]x/", "no name of letters"),
            ("http://[fe80::1%25eth0]/", "no name of letters"),
            ("http://::1/", "no name of letters"),
            ("http://example.com:/", "is not a number"),
            ("http://example.com:0/", "is not a number"),
            ("http://example.com:65536/", "is not a number"),
            ("http://example.com:80:90/", "is not a number"),
            ("http://example.com:+80/", "is not a number"),
            ("https://example.com/a/../b", "segment"),
            ("https://example.com/a/..", "segment"),
            ("https://example.com/a/%2e%2E/b", "segment"),
            ("https://example.com/a/%2e./b", "segment"),
            ("https://example.com/a%2f..%2Fb", "segment"),
            ("https://example.com/a/..%5cb", "segment"),
            ("https://example.com/a/%252e%252e/b", "segment"),
            ("https://example.com/a/..;x=1/b", "segment"),
            ("https://example.com/./a", "segment"),
        ] {
            let error = HttpUrl::parse(text).map(|url| url.to_string());
            let error = error.expect_err(text).to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
        let long = format!("https://example.com/{}", "a".repeat(9000));
        assert!(HttpUrl::parse(&long).is_err());
    }

    #[test]
    fn a_redirection_is_relative_to_its_url() {
        let base = HttpUrl::parse("https://example.com:444/a/b/c?d").expect("a URL");
        for (location, expected) in [
            ("http://other.example/x/../y", "http://other.example/y"),
            ("//other.example", "https://other.example/"),
            ("/x", "https://example.com:444/x"),
            ("x", "https://example.com:444/a/b/x"),
            ("../x?y", "https://example.com:444/a/x?y"),
            ("../../../../x", "https://example.com:444/x"),
            ("..", "https://example.com:444/a/"),
            ("?z", "https://example.com:444/a/b/c?z"),
            ("", "https://example.com:444/a/b/c?d"),
            ("#top", "https://example.com:444/a/b/c?d"),
            (
                "x?u=https://e/../f",
                "https://example.com:444/a/b/x?u=https://e/../f",
            ),
        ] {
            let url = base.join(location).expect(location);
            assert_eq!(url.to_string(), expected, "{location}");
        }
        for location in [
            "https://user@example.com/",
            "file:///etc/passwd",
            "gopher://example.com/",
            "//a@b/",
            "/a\nb",
            "/%2e%2e/x",
        ] {
            assert!(base.join(location).is_err(), "{location}");
        }
    }
}
