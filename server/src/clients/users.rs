//! The users that clients authenticate as, and their rights.

use std::collections::HashMap;
use std::sync::Arc;

use ferrite_protocol::glob::{Glob, GlobError};

use crate::config::{self, Right, Rights, UserSpec};

/// The user of connections that do not authenticate.
pub(crate) const DEFAULT_USER: &str = "default";

/// A user and its rights.
#[derive(Debug)]
pub(crate) struct User {
    name: Box<str>,
    rights: Rights,
    password: Option<blake3::Hash>,
    functions: Vec<Glob>,
}

impl User {
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Returns true if the user may do everything, so that nothing needs to be checked.
    pub(crate) fn is_unrestricted(&self) -> bool {
        self.rights == Rights::all() && self.functions.is_empty()
    }

    pub(crate) const fn may(&self, right: Right) -> bool {
        self.rights.has(right)
    }

    /// Returns true if the user may call, look at and manage this function, as far as it may do that
    /// with any.
    pub(crate) fn may_use(&self, function: &[u8]) -> bool {
        self.functions.is_empty() || self.functions.iter().any(|glob| glob.matches(function))
    }

    /// Returns true if the user may use some functions only.
    pub(crate) const fn has_some_functions(&self) -> bool {
        !self.functions.is_empty()
    }
}

/// Reason why the users of a configuration are not accepted.
#[derive(Debug, thiserror::Error)]
pub enum UsersError {
    /// A pattern for function names is not a valid glob.
    #[error("user {user}: {glob:?} is not a valid pattern for function names")]
    Glob {
        /// The user.
        user: String,
        /// The pattern.
        glob: String,
        /// The reason.
        #[source]
        source: GlobError,
    },
    /// Both `server.users` and `server.password` define the user `default`.
    #[error("server.users names \"default\" and server.password is set; give one of them")]
    DefaultTwice,
}

/// Every user.
#[derive(Debug)]
pub(crate) struct Users {
    by_name: HashMap<Box<str>, Arc<User>>,
    /// The user of connections that have not authenticated.
    unnamed: Option<Arc<User>>,
}

impl Users {
    /// Reads the users of a configuration.
    ///
    /// Without users and password, every connection is the user `default`, which may do everything.
    /// With a password, the user `default` must authenticate. With users and no password, there is
    /// a user `default` only if one of them has that name.
    pub(crate) fn new(server: &config::Server) -> Result<Self, UsersError> {
        let mut by_name = HashMap::new();
        for spec in &server.users {
            by_name.insert(spec.name.as_str().into(), Arc::new(User::try_from(spec)?));
        }
        let password = server.password.reveal();
        if !password.is_empty() && by_name.contains_key(DEFAULT_USER) {
            return Err(UsersError::DefaultTwice);
        }
        let default = |password| {
            Arc::new(User {
                name: DEFAULT_USER.into(),
                rights: Rights::all(),
                password,
                functions: Vec::new(),
            })
        };
        let mut unnamed = None;
        if !password.is_empty() {
            by_name.insert(
                DEFAULT_USER.into(),
                default(Some(blake3::hash(password.as_bytes()))),
            );
        } else if by_name.is_empty() {
            unnamed = Some(default(None));
            by_name.insert(DEFAULT_USER.into(), default(None));
        }
        Ok(Self { by_name, unnamed })
    }

    /// Returns the user of connections that have not authenticated; `None` if they must.
    pub(crate) fn unnamed(&self) -> Option<Arc<User>> {
        self.unnamed.clone()
    }

    /// Returns true if connections must authenticate.
    pub(crate) const fn is_required(&self) -> bool {
        self.unnamed.is_none()
    }

    /// Returns the user of this name and password. Takes the same time if one of them is wrong.
    pub(crate) fn authenticate(&self, name: &[u8], password: &[u8]) -> Option<Arc<User>> {
        // Comparing these hashes takes constant time.
        let given = blake3::hash(password);
        let user = std::str::from_utf8(name)
            .ok()
            .and_then(|name| self.by_name.get(name));
        let expected = match user {
            Some(user) => user.password,
            None => Some(blake3::Hash::from_bytes([0; 32])),
        };
        match (user, expected) {
            (Some(user), Some(expected)) if expected == given => Some(Arc::clone(user)),
            // A user without a password accepts any, as with Redis' `nopass`.
            (Some(user), None) => Some(Arc::clone(user)),
            _ => None,
        }
    }
}

impl TryFrom<&UserSpec> for User {
    type Error = UsersError;

    fn try_from(spec: &UserSpec) -> Result<Self, UsersError> {
        let UserSpec {
            name,
            rights,
            password,
            functions,
        } = spec;
        let functions = functions
            .iter()
            .map(|glob| {
                Glob::parse(glob.as_bytes()).map_err(|source| UsersError::Glob {
                    user: name.clone(),
                    glob: glob.clone(),
                    source,
                })
            })
            .collect::<Result<_, _>>()?;
        Ok(Self {
            name: name.as_str().into(),
            rights: *rights,
            password: Some(*password),
            functions,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Users;
    use crate::config::{Config, Right};

    fn users(text: &str) -> Users {
        let config = Config::parse("ferrite.toml".as_ref(), text).expect("right");
        Users::new(&config.server).expect("users that go together")
    }

    #[test]
    fn without_users_everybody_may_do_everything() {
        let users = users("");
        assert!(!users.is_required());
        assert!(users.unnamed().is_some_and(|user| user.is_unrestricted()));
        assert!(users.authenticate(b"default", b"anything").is_some());
        assert!(users.authenticate(b"somebody", b"anything").is_none());
    }

    #[test]
    fn a_password_is_asked_for() {
        let users = users("[server]\npassword = \"s3cret\"");
        assert!(users.is_required() && users.unnamed().is_none());
        assert!(users.authenticate(b"default", b"s3cret").is_some());
        for (name, password) in [
            (&b"default"[..], &b""[..]),
            (b"default", b"s3cret "),
            (b"Default", b"s3cret"),
            (b"", b"s3cret"),
            (b"\xff", b"s3cret"),
        ] {
            assert!(users.authenticate(name, password).is_none());
        }
    }

    #[test]
    fn named_users_leave_no_default() {
        let users = users("[server]\nusers = [\"app may=read+call password=x functions=rate_*\"]");
        assert!(users.is_required());
        assert!(users.authenticate(b"default", b"").is_none());
        let app = users
            .authenticate(b"app", b"x")
            .expect("the right password");
        assert!(app.may(Right::Call) && !app.may(Right::Write) && !app.is_unrestricted());
        assert!(app.may_use(b"rate_limit") && !app.may_use(b"other"));
    }

    #[test]
    fn users_that_contradict_each_other_are_refused() {
        for text in [
            "[server]\npassword = \"x\"\nusers = [\"default may=all password=x\"]",
            "[server]\nusers = [\"a may=call password=x functions=[\"]",
        ] {
            let config = Config::parse("ferrite.toml".as_ref(), text).expect("right");
            assert!(Users::new(&config.server).is_err(), "{text}");
        }
    }
}
