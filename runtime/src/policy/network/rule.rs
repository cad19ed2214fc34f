//! Rules that say which requests are allowed: `https://api.example.com/v1/*`.

use std::fmt;

use ferrite_protocol::glob::{Glob, GlobError};

use super::method::{Method, Methods};
use super::url::{Host, HttpUrl, default_port, parse_port, scheme_is_https};

/// Longest rule, in bytes.
const RULE_BYTES_MAX: usize = 2048;

/// Which requests are allowed: methods, scheme, host, port and path.
///
/// `[METHOD[,METHOD…] ]https://host[:port][/path-glob]`. The host is a name, an address, `*.` and a
/// name for everything below that name, or `*` for every host. The port is a number or `*`; without
/// one, that of the scheme. Without a path, every path is allowed; the glob matches the path without
/// its query.
#[derive(Clone, Debug)]
pub struct UrlRule {
    text: Box<str>,
    methods: Methods,
    https: bool,
    host: HostRule,
    port: Option<u16>,
    path: Glob,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum HostRule {
    Any,
    /// Every name that ends with this, which begins with a dot.
    Below(Box<str>),
    Is(Host),
}

/// Reason why a text is no rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// Longer than 2048 bytes.
    #[error("the rule has {0} bytes, the limit is {RULE_BYTES_MAX}")]
    TooLong(usize),
    /// It does not begin with a scheme.
    #[error("it does not begin with https:// or http://, after the methods if there are any")]
    Scheme,
    /// An unknown method.
    #[error("unknown method {0:?}; there are {list}", list = Methods::ALL)]
    Method(Box<str>),
    /// The host is wrong.
    #[error(
        "the host {0:?} is neither a name, an address, *.NAME nor *, or it has a user name or a wrong port"
    )]
    Host(Box<str>),
    /// A query or fragment.
    #[error("it has a query or a fragment; rules are about the path alone")]
    Query,
    /// The glob of the path is wrong.
    #[error("the path: {0}")]
    Path(GlobError),
}

impl UrlRule {
    /// Reads a rule.
    ///
    /// # Errors
    ///
    /// The text is no rule.
    pub fn parse(text: &str) -> Result<Self, RuleError> {
        if text.len() > RULE_BYTES_MAX {
            return Err(RuleError::TooLong(text.len()));
        }
        let (methods, url) = match text.split_once(' ') {
            Some((methods, url)) => (Methods::parse(methods).map_err(RuleError::Method)?, url),
            None => (Methods::ALL, text),
        };
        let (scheme, rest) = url.split_once("://").ok_or(RuleError::Scheme)?;
        let https = scheme_is_https(scheme).ok_or(RuleError::Scheme)?;
        let (authority, path) = match rest.find('/') {
            Some(slash) => rest.split_at(slash),
            None => (rest, "*"),
        };
        if authority.contains(['?', '#']) || path.contains('#') {
            return Err(RuleError::Query);
        }
        let wrong = || RuleError::Host(authority.into());
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, "*")) => (host, None),
            Some((host, port)) if !port.ends_with(']') => {
                (host, Some(parse_port(port).ok_or_else(wrong)?))
            }
            _ => (authority, Some(default_port(https))),
        };
        let host = match host.strip_prefix("*.") {
            _ if host == "*" => HostRule::Any,
            Some(name) => match Host::parse(name).map_err(|_| wrong())? {
                Host::Name(name) => HostRule::Below(format!(".{name}").into()),
                Host::Address(_) => return Err(wrong()),
            },
            None => match Host::with_port(host).map_err(|_| wrong())? {
                (host, None) => HostRule::Is(host),
                (_, Some(_)) => return Err(wrong()),
            },
        };
        Ok(Self {
            text: text.into(),
            methods,
            https,
            host,
            port,
            path: Glob::parse(path.as_bytes()).map_err(RuleError::Path)?,
        })
    }

    /// Returns the rule as it was written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    fn allows(&self, method: Method, url: &HttpUrl) -> bool {
        let Self {
            text: _,
            methods,
            https,
            host,
            port,
            path,
        } = self;
        methods.has(method)
            && *https == url.https
            && port.is_none_or(|port| port == url.port)
            && host.allows(&url.host)
            && path.matches(url.path.as_bytes())
    }

    /// Returns true if this rule certainly allows everything that `other` allows.
    fn covers(&self, other: &Self) -> bool {
        let Self {
            text: _,
            methods,
            https,
            host,
            port,
            path,
        } = self;
        methods.covers(other.methods)
            && *https == other.https
            && port.is_none_or(|port| other.port == Some(port))
            && host.covers(&other.host)
            && path.covers(&other.path)
    }
}

impl HostRule {
    fn allows(&self, host: &Host) -> bool {
        match (self, host) {
            (Self::Any, _) => true,
            (Self::Below(suffix), Host::Name(name)) => {
                name.len() > suffix.len() && name.ends_with(&**suffix)
            }
            (Self::Below(_), Host::Address(_)) => false,
            (Self::Is(own), host) => own == host,
        }
    }

    fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Any, _) => true,
            (Self::Below(own), Self::Below(other)) => other.ends_with(&**own),
            (own, Self::Is(host)) => own.allows(host),
            (_, Self::Any) | (Self::Is(_), Self::Below(_)) => false,
        }
    }
}

/// The requests that a function or a server allows: those that one of its rules allows.
#[derive(Clone, Debug, Default)]
pub struct NetworkRules(Box<[UrlRule]>);

impl NetworkRules {
    /// Reads rules. An error names the rule.
    ///
    /// # Errors
    ///
    /// The first text that is no rule.
    pub fn parse<T: AsRef<str>>(rules: &[T]) -> Result<Self, (Box<str>, RuleError)> {
        let parse = |rule: &T| {
            let rule = rule.as_ref();
            UrlRule::parse(rule).map_err(|error| (rule.into(), error))
        };
        Ok(Self(rules.iter().map(parse).collect::<Result<_, _>>()?))
    }

    /// Returns true if nothing is allowed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the rules.
    #[must_use]
    pub fn rules(&self) -> &[UrlRule] {
        &self.0
    }

    pub(crate) fn allow(&self, method: Method, url: &HttpUrl) -> bool {
        self.0.iter().any(|rule| rule.allows(method, url))
    }

    /// Returns the rules that no single rule of `granted` covers.
    pub fn beyond<'a>(&'a self, granted: &'a Self) -> impl Iterator<Item = &'a UrlRule> {
        self.0
            .iter()
            .filter(|rule| !granted.0.iter().any(|wide| wide.covers(rule)))
    }
}

impl fmt::Display for UrlRule {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::{NetworkRules, UrlRule};
    use crate::policy::network::method::Method;
    use crate::policy::network::url::HttpUrl;

    fn allows(rule: &str, method: &str, url: &str) -> bool {
        let rules = NetworkRules::parse(&[rule]).expect(rule);
        let url = HttpUrl::parse(url).expect(url);
        rules.allow(Method::parse(method).expect(method), &url)
    }

    #[test]
    fn a_rule_is_about_method_scheme_host_port_and_path() {
        let rule = "GET,POST https://api.example.com/v1/*";
        for (method, url, expected) in [
            ("GET", "https://api.example.com/v1/x?y", true),
            ("POST", "https://API.example.com:443/v1/", true),
            ("PUT", "https://api.example.com/v1/x", false),
            ("GET", "http://api.example.com/v1/x", false),
            ("GET", "https://api.example.com:8443/v1/x", false),
            ("GET", "https://api.example.com/v2/x", false),
            ("GET", "https://api.example.com/v1", false),
            ("GET", "https://api.example.com.evil.example/v1/x", false),
            (
                "GET",
                "https://evil.example/?https://api.example.com/v1/x",
                false,
            ),
            (
                "GET",
                "https://evil.example/https://api.example.com/v1/x",
                false,
            ),
            ("GET", "https://xapi.example.com/v1/x", false),
        ] {
            assert_eq!(allows(rule, method, url), expected, "{method} {url}");
        }
        for (rule, url, expected) in [
            ("https://*.example.com", "https://a.b.example.com/", true),
            ("https://*.example.com", "https://example.com/", false),
            ("https://*.example.com", "https://aexample.com/", false),
            ("https://*.example.com", "https://a.example.com:444/", false),
            ("https://example.com:*", "https://example.com:444/x", true),
            ("https://*", "https://10.0.0.1/x", true),
            ("https://*", "http://example.com/", false),
            ("http://[2606::1]:80/x", "http://[2606:0::1]/x", true),
            ("http://[2606::1]", "http://[2606::2]/x", false),
            ("http://192.0.2.1:8080/*", "http://192.0.2.1:8080/", true),
        ] {
            assert_eq!(allows(rule, "GET", url), expected, "{rule} {url}");
        }
    }

    #[test]
    fn rules_are_read_strictly() {
        for (rule, expected) in [
            ("", "does not begin with"),
            ("*", "does not begin with"),
            ("example.com", "does not begin with"),
            ("ftp://example.com", "does not begin with"),
            ("GET  https://example.com", "does not begin with"),
            ("get https://example.com", "unknown method \"get\""),
            ("GET, https://example.com", "unknown method \"\""),
            ("CONNECT https://example.com", "unknown method \"CONNECT\""),
            ("https://", "is neither a name"),
            ("https://user@example.com", "is neither a name"),
            ("https://a.*.example.com", "is neither a name"),
            ("https://exa*mple.com", "is neither a name"),
            ("https://*.10.0.0.1", "is neither a name"),
            ("https://example.com:x/", "is neither a name"),
            ("https://example.com:/", "is neither a name"),
            ("https://example.com:1:2/", "is neither a name"),
            ("https://example.com?x", "query or a fragment"),
            ("https://example.com/#x", "query or a fragment"),
        ] {
            let error = UrlRule::parse(rule).expect_err(rule).to_string();
            assert!(error.contains(expected), "{rule}: {error}");
        }
    }

    #[test]
    fn a_rule_covers_what_it_certainly_allows() {
        for (asked, granted, covered) in [
            ("https://a.example/v1/*", "https://a.example", true),
            ("https://a.example/v1/*", "https://*.example/*", true),
            ("GET https://a.example", "https://a.example", true),
            ("https://a.example", "GET https://a.example", false),
            ("https://a.example", "https://a.example/*", false),
            ("https://a.example:444", "https://a.example:*", true),
            ("https://a.example:*", "https://a.example", false),
            ("http://a.example", "https://a.example", false),
            ("https://*.b.example", "https://*.example", true),
            ("https://*.example", "https://*.b.example", false),
            ("https://*", "https://*.example", false),
            ("https://*.example", "https://a.example", false),
            ("https://*", "https://*", true),
        ] {
            let parse = |rule: &str| NetworkRules::parse(&[rule]).expect(rule);
            let (asked_rules, granted_rules) = (parse(asked), parse(granted));
            let beyond = asked_rules.beyond(&granted_rules).count();
            assert_eq!(beyond == 0, covered, "{asked} within {granted}");
        }
    }
}
