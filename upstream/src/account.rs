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

    /// Returns an answer to `AUTH` as it may be shown. A server that does not know the command repeats its
    /// words; then only the error's code is left.
    pub(crate) fn without_secret<'t>(&self, answer: &'t str) -> &'t str {
        let password = self.password.as_deref().unwrap_or_default();
        let repeats = |text: &str| !password.is_empty() && text.contains(password);
        if repeats(answer) {
            return match answer.split(' ').next() {
                Some(code) if !repeats(code) => code,
                _ => "ERR",
            };
        }
        answer
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

#[cfg(test)]
mod tests {
    use super::Account;

    #[test]
    fn an_answer_that_repeats_the_password_is_cut() {
        let account = Account {
            user: Some("app".to_owned()),
            password: Some("s3cret".to_owned()),
        };
        let unknown = "ERR unknown command 'AUTH', with args beginning with: 'app' 's3cret' ";
        for (answer, shown) in [
            (unknown, "ERR"),
            ("s3cret", "ERR"),
            (
                "WRONGPASS invalid username-password pair",
                "WRONGPASS invalid username-password pair",
            ),
        ] {
            assert_eq!(account.without_secret(answer), shown);
        }
        assert_eq!(Account::default().without_secret(unknown), unknown);
    }
}
