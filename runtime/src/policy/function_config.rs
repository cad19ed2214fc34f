//! A function's own configuration: texts by name, some of them secret.
//!
//! Values are shown nowhere: not by commands, and not in errors or logs.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::Quoted;

/// A function's own configuration.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FunctionConfig(BTreeMap<Box<str>, Box<str>>);

/// Reason why a configuration is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FunctionConfigError {
    /// The text is too long to be read.
    #[error(
        "the configuration has {bytes} bytes, the limit is {}",
        FunctionConfig::JSON_BYTES_MAX
    )]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// It is not a JSON object.
    #[error(
        "the configuration is not a JSON object such as {{\"token\": \"…\"}}: wrong at line {line}, column {column}"
    )]
    Malformed {
        /// The line, from 1 on; 0 if it is JSON of another kind.
        line: usize,
        /// The column in that line.
        column: usize,
    },
    /// A name has another form.
    #[error(
        "{name} is no name of a configuration's value; use 1 to {} of A-Z a-z 0-9 _ . -",
        FunctionConfig::NAME_BYTES_MAX
    )]
    Name {
        /// The name, as errors show it.
        name: Box<str>,
    },
    /// A value is no text.
    #[error("the configuration's value \"{name}\" is no text; write \"…\"{}", if *.removable { ", or null to remove it" } else { "" })]
    Value {
        /// Its name.
        name: Box<str>,
        /// True if null would be allowed.
        removable: bool,
    },
    /// A value is too long.
    #[error(
        "the configuration's value \"{name}\" has {bytes} bytes, the limit is {}",
        FunctionConfig::VALUE_BYTES_MAX
    )]
    LongValue {
        /// Its name.
        name: Box<str>,
        /// Its length.
        bytes: usize,
    },
    /// There are too many values.
    #[error(
        "the configuration has {count} values, the limit is {}",
        FunctionConfig::VALUES_MAX
    )]
    Many {
        /// Their number.
        count: usize,
    },
    /// All together are too long.
    #[error(
        "the configuration has {bytes} bytes of names and values, the limit is {}",
        FunctionConfig::BYTES_MAX
    )]
    Large {
        /// The sum of their lengths.
        bytes: usize,
    },
}

impl FunctionConfig {
    /// Longest name, in bytes.
    pub const NAME_BYTES_MAX: usize = 64;
    /// Longest value, in bytes.
    pub const VALUE_BYTES_MAX: usize = 16 << 10;
    /// Most values.
    pub const VALUES_MAX: usize = 64;
    /// Most bytes of all names and values.
    pub const BYTES_MAX: usize = 64 << 10;
    /// Longest JSON text that is read, in bytes.
    pub const JSON_BYTES_MAX: usize = 512 << 10;

    /// Reads a whole configuration: a JSON object of texts.
    ///
    /// # Errors
    ///
    /// It has another form, or a bound is passed.
    pub fn from_json(json: &[u8]) -> Result<Self, FunctionConfigError> {
        Self::default().changed(json, false)
    }

    /// Returns the configuration with the changes of a JSON object: a text sets the value of its name,
    /// and null removes it.
    ///
    /// # Errors
    ///
    /// The object has another form, or a bound is passed.
    pub fn changed_by(&self, json: &[u8]) -> Result<Self, FunctionConfigError> {
        self.changed(json, true)
    }

    fn changed(&self, json: &[u8], removable: bool) -> Result<Self, FunctionConfigError> {
        if json.len() > Self::JSON_BYTES_MAX {
            return Err(FunctionConfigError::TooLong { bytes: json.len() });
        }
        // The errors of `Value` tell places and no content.
        let value =
            serde_json::from_slice(json).map_err(|error| FunctionConfigError::Malformed {
                line: error.line(),
                column: error.column(),
            })?;
        let Value::Object(object) = value else {
            return Err(FunctionConfigError::Malformed { line: 0, column: 0 });
        };
        let mut values = self.0.clone();
        for (name, value) in object {
            let name: Box<str> = name.into();
            match value {
                _ if !is_name(&name) => {
                    let name = Quoted(name.as_bytes()).to_string().into();
                    return Err(FunctionConfigError::Name { name });
                }
                Value::String(text) if text.len() > Self::VALUE_BYTES_MAX => {
                    let bytes = text.len();
                    return Err(FunctionConfigError::LongValue { name, bytes });
                }
                Value::String(text) => {
                    values.insert(name, text.into());
                }
                Value::Null if removable => {
                    values.remove(&name);
                }
                _ => return Err(FunctionConfigError::Value { name, removable }),
            }
        }
        if values.len() > Self::VALUES_MAX {
            return Err(FunctionConfigError::Many {
                count: values.len(),
            });
        }
        let bytes = values
            .iter()
            .map(|(name, value)| name.len() + value.len())
            .sum();
        if bytes > Self::BYTES_MAX {
            return Err(FunctionConfigError::Large { bytes });
        }
        Ok(Self(values))
    }

    /// Returns true if it has no values.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the names of its values, in their order.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.0.keys().map(|name| &**name)
    }

    /// Returns the value of this name.
    pub(crate) fn get(&self, name: &[u8]) -> Option<&str> {
        let name = std::str::from_utf8(name).ok()?;
        self.0.get(name).map(|value| &**value)
    }
}

/// Shows the names alone.
impl fmt::Debug for FunctionConfig {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_set().entries(self.names()).finish()
    }
}

fn is_name(name: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    (1..=FunctionConfig::NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(letter)
}

#[cfg(test)]
mod tests {
    use super::FunctionConfig;

    fn read(json: &str) -> Result<FunctionConfig, String> {
        FunctionConfig::from_json(json.as_bytes()).map_err(|error| error.to_string())
    }

    #[test]
    fn changes_set_and_remove_values() {
        let before = read(r#"{"token": "s3cret", "url": "x"}"#).expect("right");
        let after = before
            .changed_by(br#"{"token": "other", "url": null, "more": "", "none": null}"#)
            .expect("right");
        assert_eq!(after.names().collect::<Vec<_>>(), ["more", "token"]);
        assert_eq!(after.get(b"token"), Some("other"));
        assert_eq!(after.get(b"url"), None);
        assert_eq!(after.get(b"\xff"), None);
        let kept = serde_json::to_string(&after).expect("texts");
        assert_eq!(
            serde_json::from_str::<FunctionConfig>(&kept).ok(),
            Some(after)
        );
    }

    #[test]
    fn nothing_shows_a_value() {
        let config = read(r#"{"token": "s3cret"}"#).expect("right");
        assert_eq!(format!("{config:?}"), r#"{"token"}"#);
        for json in [
            r#"{"token": "s3cret"#,
            r#"{"token": "s3cret", }"#,
            r#"["s3cret"]"#,
            r#""s3cret""#,
            r#"{"token": ["s3cret"]}"#,
            r#"{"token": {"s3cret": 1}}"#,
        ] {
            let error = read(json).expect_err(json);
            assert!(!error.contains("s3cret"), "{error}");
        }
    }

    #[test]
    fn bounds_are_told() {
        let long = "x".repeat(20_000);
        let part = "x".repeat(16_000);
        let many: Vec<_> = (0..65).map(|it| format!(r#""n{it}": """#)).collect();
        for (json, expected) in [
            (r#"{"a b": ""}"#.to_owned(), r#""a b" is no name"#),
            (r#"{"": ""}"#.to_owned(), "is no name"),
            (r#"{"a": null}"#.to_owned(), r#"value "a" is no text"#),
            (r#"{"a": 1}"#.to_owned(), r#"value "a" is no text"#),
            (
                format!(r#"{{"a": "{long}"}}"#),
                "20000 bytes, the limit is 16384",
            ),
            (
                format!("{{{}}}", many.join(",")),
                "65 values, the limit is 64",
            ),
            (
                format!(r#"{{"a":"{part}","b":"{part}","c":"{part}","d":"{part}","e":"{part}"}}"#),
                "80005 bytes of names and values, the limit is 65536",
            ),
            ("[".repeat(600_000), "600000 bytes, the limit is 524288"),
            ("[".repeat(100_000), "wrong at line 1"),
        ] {
            let error = read(&json).expect_err(expected);
            assert!(error.contains(expected), "{error}");
        }
    }
}
