//! Strict reading of the JSON that commands carry. An error names the field, and the known field
//! that was probably meant.

use std::fmt;

use serde::de::DeserializeOwned;
use serde_json::error::Category;

/// Longest JSON text accepted, in bytes.
pub(crate) const BYTES_MAX: usize = 64 * 1024;

/// Reason why a JSON text is refused.
#[derive(Debug, thiserror::Error)]
pub enum JsonError {
    /// The text is longer than 64 KiB.
    #[error("the JSON has {bytes} bytes, the limit is {BYTES_MAX}")]
    TooLong {
        /// Length of the text.
        bytes: usize,
    },
    /// The text is not JSON, or not an object.
    #[error("not a JSON object: {0}")]
    Malformed(Box<str>),
    /// A field is unknown.
    #[error("unknown field \"{field}\"; {}", Hint(.nearest, .known))]
    UnknownField {
        /// The field as it was written.
        field: Box<str>,
        /// The known field that was probably meant.
        nearest: Option<Box<str>>,
        /// All known fields.
        known: Box<[Box<str>]>,
    },
    /// A field is given twice.
    #[error("field \"{field}\" is given twice")]
    Duplicate {
        /// The field.
        field: Box<str>,
    },
    /// The value of a field is wrong.
    #[error("field \"{field}\": {problem}")]
    Field {
        /// The field, with the index if the wrong value is in an array.
        field: Box<str>,
        /// The problem.
        problem: Box<str>,
    },
}

struct Hint<'a>(&'a Option<Box<str>>, &'a [Box<str>]);

impl fmt::Display for Hint<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(nearest) => write!(out, "did you mean \"{nearest}\"?"),
            None => write!(out, "there are: {}", self.1.join(", ")),
        }
    }
}

/// Reads a JSON object into the struct `T`, which must derive `Deserialize` with
/// `deny_unknown_fields`.
pub(crate) fn read<T: DeserializeOwned>(text: &[u8]) -> Result<T, JsonError> {
    if text.len() > BYTES_MAX {
        return Err(JsonError::TooLong { bytes: text.len() });
    }
    // serde would also read a struct from an array of its values.
    if !matches!(text.trim_ascii_start().first(), None | Some(b'{')) {
        return Err(JsonError::Malformed("expected an object in braces".into()));
    }
    let malformed = |error: serde_json::Error| JsonError::Malformed(error.to_string().into());
    let mut json = serde_json::Deserializer::from_slice(text);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        let error = error.into_inner();
        match error.classify() {
            Category::Data => wrong_data(path, &error.to_string()),
            Category::Io | Category::Syntax | Category::Eof => malformed(error),
        }
    })?;
    json.end().map_err(malformed)?;
    Ok(value)
}

/// Turns serde's message about the value at `path` into an error.
fn wrong_data(path: String, message: &str) -> JsonError {
    // A position inside one value means little once its field is named.
    let message = message
        .rfind(" at line ")
        .map_or(message, |at| &message[..at]);
    if let Some(rest) = message.strip_prefix("unknown field `")
        && let Some((field, expected)) = rest.rsplit_once("`, expected ")
    {
        // "`a`", "`a` or `b`", or "one of `a`, `b`, `c`": every second piece is a name.
        let known: Box<[Box<str>]> = expected
            .split('`')
            .skip(1)
            .step_by(2)
            .map(Into::into)
            .collect();
        return JsonError::UnknownField {
            nearest: nearest(field, known.iter().map(|name| &**name)).map(Into::into),
            field: field.into(),
            known,
        };
    }
    if let Some(rest) = message.strip_prefix("duplicate field `") {
        return JsonError::Duplicate {
            field: rest.trim_end_matches('`').into(),
        };
    }
    JsonError::Field {
        field: path.into(),
        problem: message.into(),
    }
}

/// Returns the name in `known` that is most similar to `unknown`, if any is similar enough to be
/// what was meant.
#[must_use]
pub fn nearest<'a>(unknown: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Longer texts are no typing errors, and a comparison costs the product of both lengths.
    const LENGTH_MAX: usize = 64;
    const SIMILARITY_MIN: f64 = 0.6;
    if unknown.len() > LENGTH_MAX {
        return None;
    }
    let unknown = unknown.to_ascii_lowercase();
    known
        .into_iter()
        .map(|name| {
            let similarity =
                strsim::normalized_damerau_levenshtein(&unknown, &name.to_ascii_lowercase());
            (similarity, name)
        })
        .filter(|(similarity, _)| *similarity >= SIMILARITY_MIN)
        .max_by(|one, other| one.0.total_cmp(&other.0))
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::{nearest, read};

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    #[derive(Default)]
    struct Sample {
        allowed_keys: Vec<String>,
        allow_write: bool,
    }

    #[test]
    fn errors_name_the_field_and_the_nearest_one() {
        for (text, expected) in [
            (
                "",
                "not a JSON object: EOF while parsing a value at line 1 column 0",
            ),
            ("[]", "not a JSON object: expected an object in braces"),
            (
                "{} x",
                "not a JSON object: trailing characters at line 1 column 4",
            ),
            (
                "{\"allow_write\": tru}",
                "not a JSON object: expected ident at line 1 column 20",
            ),
            (
                "{\"alow_write\": true}",
                "unknown field \"alow_write\"; did you mean \"allow_write\"?",
            ),
            (
                "{\"AllowWrite\": true}",
                "unknown field \"AllowWrite\"; did you mean \"allow_write\"?",
            ),
            (
                "{\"x\": {\"y\": [1]}}",
                "unknown field \"x\"; there are: allowed_keys, allow_write",
            ),
            (
                "{\"allow_write\": true, \"allow_write\": true}",
                "field \"allow_write\" is given twice",
            ),
            (
                "{\"allow_write\": 1}",
                "field \"allow_write\": invalid type: integer `1`, expected a boolean",
            ),
            (
                "{\"allowed_keys\": [\"a\", null]}",
                "field \"allowed_keys[1]\": invalid type: null, expected a string",
            ),
        ] {
            let error = read::<Sample>(text.as_bytes()).expect_err(text);
            assert_eq!(error.to_string(), expected);
        }
        assert_eq!(
            read::<Sample>(b" {\"allow_write\": true} ").expect("all is well"),
            Sample {
                allow_write: true,
                ..Sample::default()
            }
        );
    }

    #[test]
    fn deep_and_long_texts_are_refused() {
        let deep = format!("{{\"allow_write\": {}", "[".repeat(60_000));
        assert!(read::<Sample>(deep.as_bytes()).is_err());
        let long = format!("{{{}}}", " ".repeat(70_000));
        assert_eq!(
            read::<Sample>(long.as_bytes())
                .expect_err("too long")
                .to_string(),
            "the JSON has 70002 bytes, the limit is 65536"
        );
        assert!(read::<Sample>(b"{\"\xff\": 1}").is_err());
    }

    #[test]
    fn only_similar_names_are_proposed() {
        let known = ["max_memory", "max_time"];
        assert_eq!(nearest("max_mem", known), Some("max_memory"));
        assert_eq!(nearest("MAX_TIMES", known), Some("max_time"));
        assert_eq!(nearest("colour", known), None);
        assert_eq!(nearest(&"max_time".repeat(100), known), None);
    }
}
