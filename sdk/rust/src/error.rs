//! Errors of a function, which its caller sees as error replies.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::string::{String, ToString};
use core::fmt;

use ferrite_wasm_abi::Status;

use crate::excerpt::excerpt;

/// An error reply: a code in capitals, a blank, and a text.
///
/// Any standard error becomes one by `?`, with the code `ERR`. A status of the store keeps its
/// [`Status`], so that a function can tell a key of the wrong type from a missing permission.
///
/// It is one machine word wide, which keeps functions that can fail small.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error(Box<Content>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Content {
    text: Cow<'static, str>,
    status: Option<Status>,
}

impl Error {
    /// Makes an error of a text, which may start with a code of its own.
    ///
    /// ```
    /// use ferrite_wasm_sdk::Error;
    /// assert_eq!(Error::new("no such user").to_string(), "ERR no such user");
    /// assert_eq!(Error::new("LIMITED try later").code(), "LIMITED");
    /// ```
    #[must_use]
    pub fn new(text: impl Into<Cow<'static, str>>) -> Self {
        let text = text.into();
        let text = if has_code(&text) {
            text
        } else {
            Cow::Owned(["ERR ", &text].concat())
        };
        Self::from_parts(text, None)
    }

    fn from_parts(text: Cow<'static, str>, status: Option<Status>) -> Self {
        Self(Box::new(Content { text, status }))
    }

    /// Returns the first word: `ERR`, `WRONGTYPE`, `NOPERM` or a code of the function's own.
    #[must_use]
    pub fn code(&self) -> &str {
        self.0.text.split(' ').next().unwrap_or_default()
    }

    /// Returns the whole text, including the code.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0.text
    }

    /// Returns the status that the store answered, if it caused the error.
    #[must_use]
    pub fn status(&self) -> Option<Status> {
        self.0.status
    }

    /// Makes the error for a negative answer of the host function `operation` about `subject`.
    ///
    /// Uses the texts of Redis for the same mistakes, because clients match them.
    #[cold]
    pub(crate) fn of_status(code: i64, operation: &'static str, subject: &[u8]) -> Self {
        let status = i32::try_from(code).ok().and_then(Status::from_code);
        let text = match status {
            Some(Status::WrongType) => {
                Cow::Borrowed("WRONGTYPE Operation against a key holding the wrong kind of value")
            }
            Some(Status::Invalid) if operation == "incr_by" => {
                Cow::Borrowed("ERR value is not an integer or out of range")
            }
            Some(status) => {
                let code = match status {
                    Status::Denied | Status::ReadOnly => "NOPERM ",
                    Status::Limit => "LIMIT ",
                    _ => "ERR ",
                };
                let excerpt = excerpt(subject);
                let description = status.describe();
                Cow::Owned([code, operation, " ", &excerpt, ": ", description].concat())
            }
            None => Cow::Owned(
                [
                    "ERR ",
                    operation,
                    " answered a status that this SDK does not know",
                ]
                .concat(),
            ),
        };
        Self::from_parts(text, status)
    }

    /// Makes an error of a command's error reply, unchanged.
    pub(crate) fn of_reply(text: String) -> Self {
        Self::from_parts(Cow::Owned(text), None)
    }
}

/// Returns true if a text starts with a code, such as `WRONGTYPE`, and has more after it.
fn has_code(text: &str) -> bool {
    let len = text.bytes().position(|byte| byte == b' ').unwrap_or(0);
    let mut code = text.bytes().take(len);
    len >= 2
        && code.next().is_some_and(|first| first.is_ascii_uppercase())
        && code.all(|byte| matches!(byte, b'A'..=b'Z' | b'0'..=b'9' | b'_'))
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.text())
    }
}

/// Lets `?` convert every standard error. This is why [`Error`] itself is no standard error.
impl<E: core::error::Error> From<E> for Error {
    fn from(error: E) -> Self {
        Self::new(error.to_string())
    }
}

/// Lets tests use `?` in functions that return a boxed error.
impl From<Error> for Box<dyn core::error::Error + Send + Sync> {
    fn from(error: Error) -> Self {
        Self::from(error.0.text.into_owned())
    }
}

/// Lets tests use `?` in functions that return a boxed error.
impl From<Error> for Box<dyn core::error::Error> {
    fn from(error: Error) -> Self {
        Self::from(error.0.text.into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::Error;
    use alloc::string::ToString;

    #[test]
    fn a_text_without_a_code_gets_one() {
        for (text, expected) in [
            ("nothing here", "ERR nothing here"),
            ("A word", "ERR A word"),
            ("OUT_OF_STOCK 3 left", "OUT_OF_STOCK 3 left"),
            ("ALONE", "ERR ALONE"),
            ("Mixed case", "ERR Mixed case"),
        ] {
            assert_eq!(Error::new(text).text(), expected);
        }
    }

    #[test]
    fn statuses_say_what_was_asked_and_of_what() {
        let denied = Error::of_status(-16, "get", b"secret:\n1");
        assert_eq!(
            denied.to_string(),
            r#"NOPERM get "secret:\n1": not permitted"#
        );
        assert_eq!(Error::of_status(-18, "get", b"k").code(), "WRONGTYPE");
        assert_eq!(
            Error::of_status(-99, "get", b"k").text(),
            "ERR get answered a status that this SDK does not know"
        );
    }

    #[test]
    fn standard_errors_convert() {
        fn parse(text: &str) -> Result<i32, Error> {
            Ok(text.parse()?)
        }
        assert_eq!(parse("x"), Err(Error::new("invalid digit found in string")));
    }
}
