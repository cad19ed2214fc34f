//! The address of a server.

use anyhow::{Result, bail};

use crate::terminal::console::UsageError;

/// The environment variable that holds the password for the server.
pub(super) const PASSWORD_VARIABLE: &str = "FERRITE_DEPLOY_PASSWORD";

/// Port of a server if the address names none.
const PORT: u16 = 6380;

/// A server's address: `redis://[user@]host[:port]`, or `rediss://` for TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    /// True if the connection is made by TLS.
    pub(super) tls: bool,
    pub(super) user: Option<String>,
    pub(super) host: String,
    pub(super) port: u16,
}

impl Address {
    /// Reads an address.
    ///
    /// # Errors
    ///
    /// Fails with a sentence for what an address cannot have, such as a password.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let wrong = |why: &str| {
            let text = text.escape_debug();
            UsageError(format!(
                "the server `{text}` {why}; an address is redis://host:port or redis://user@host:port, and rediss:// with TLS"
            ))
        };
        if let Some((_, rest)) = text.split_once("://")
            && rest
                .rsplit_once('@')
                .is_some_and(|(user, _)| user.contains(':'))
        {
            // The address is not repeated.
            bail!(UsageError(format!(
                "the server's address has a password in it, where others can see it; put it into {PASSWORD_VARIABLE}"
            )));
        }
        let (tls, rest) = if let Some(rest) = text.strip_prefix("rediss://") {
            (true, rest)
        } else if let Some(rest) = text.strip_prefix("redis://") {
            (false, rest)
        } else {
            bail!(wrong("does not begin with redis:// or rediss://"));
        };
        let (user, place) = match rest.rsplit_once('@') {
            Some((user, place)) => (Some(user.to_owned()), place),
            None => (None, rest),
        };
        let place = place.trim_end_matches('/');
        // An IPv6 address stands in brackets.
        let (host, port) = match place
            .strip_prefix('[')
            .and_then(|rest| rest.split_once(']'))
        {
            Some((host, after)) => (host, after.strip_prefix(':')),
            None => match place.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (place, None),
            },
        };
        let port = match port.map(str::parse) {
            None => PORT,
            Some(Ok(port)) => port,
            Some(Err(_)) => bail!(wrong("has a port that is no number up to 65535")),
        };
        if host.is_empty() || host.contains(['/', '?']) {
            bail!(wrong("names no host"));
        }
        Ok(Self {
            tls,
            user,
            host: host.to_owned(),
            port,
        })
    }

    /// Returns the password for the server, if the environment has one.
    ///
    /// # Errors
    ///
    /// Fails if the address has a user and there is none.
    pub(super) fn password(&self) -> Result<Option<String>> {
        match std::env::var(PASSWORD_VARIABLE) {
            Ok(password) => Ok(Some(password)),
            Err(_) if self.user.is_some() => {
                bail!("the user's password is missing; put it into {PASSWORD_VARIABLE}")
            }
            Err(_) => Ok(None),
        }
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::Address;

    #[test]
    fn addresses_are_read() {
        for (text, tls, user, host, port) in [
            ("redis://127.0.0.1", false, None, "127.0.0.1", 6380),
            ("redis://db:7000/", false, None, "db", 7000),
            ("rediss://deploy@db:7000", true, Some("deploy"), "db", 7000),
            ("redis://[::1]:7000", false, None, "::1", 7000),
        ] {
            let Address {
                tls: by_tls,
                user: of,
                host: at,
                port: on,
            } = Address::parse(text).expect(text);
            assert_eq!(
                (by_tls, of.as_deref(), at.as_str(), on),
                (tls, user, host, port)
            );
        }
        for (text, why) in [
            ("127.0.0.1:6380", "does not begin with redis://"),
            ("https://db", "does not begin with redis://"),
            ("rediss://", "names no host"),
            ("redis://a:secret@db", "has a password in it"),
            ("rediss://a:secret@db", "has a password in it"),
            ("redis://db:port", "has a port"),
            ("redis://", "names no host"),
        ] {
            let error = Address::parse(text).expect_err(text).to_string();
            assert!(error.contains(why), "{error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
