//! The credentials of a client, with which its calls reach the engine.

use std::fmt;

/// A user of the engine and its password. By default, none: the engine's user `default`.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Account {
    /// The user's name; `None` for `default`.
    pub user: Option<String>,
    /// The password; `None` if there is none.
    pub password: Option<String>,
}

impl Account {
    /// Returns the words of `AUTH` that log in; `None` if there is nothing to send.
    #[must_use]
    pub fn auth(&self) -> Option<Vec<&str>> {
        let password = self.password.as_deref()?;
        let mut words = vec!["AUTH"];
        words.extend(self.user.as_deref());
        words.push(password);
        Some(words)
    }
}

/// Shows no password.
impl fmt::Debug for Account {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "Account({})",
            self.user.as_deref().unwrap_or("default")
        )
    }
}
