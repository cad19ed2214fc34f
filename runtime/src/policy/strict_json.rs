//! Strict reading of the JSON that commands carry: an error names the field and the nearest one.

use std::collections::HashSet;
use std::fmt;

use serde::de::{
    self, DeserializeOwned, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor,
};

/// Longest JSON text taken, in bytes.
pub const BYTES_MAX: usize = 64 * 1024;

/// Why a JSON text is refused.
#[derive(Debug, thiserror::Error)]
pub enum JsonError {
    /// More than [`BYTES_MAX`].
    #[error("the JSON has {bytes} bytes, the limit is {BYTES_MAX}")]
    TooLong {
        /// The text's length.
        bytes: usize,
    },
    /// Not JSON at all, or not an object.
    #[error("not a JSON object: {0}")]
    Malformed(Box<str>),
    /// A field that does not exist.
    #[error("unknown field \"{field}\"; {}", Hint(.nearest, .known))]
    UnknownField {
        /// The field as it was written.
        field: Box<str>,
        /// The field that was probably meant.
        nearest: Option<&'static str>,
        /// Every field there is.
        known: &'static [&'static str],
    },
    /// A field that stands twice.
    #[error("field \"{field}\" is given twice")]
    Duplicate {
        /// Which one.
        field: Box<str>,
    },
    /// A field of the wrong type.
    #[error("field \"{field}\": {problem}")]
    Field {
        /// Where: a field's name, with the position for an element of an array.
        field: Box<str>,
        /// What is wrong with it.
        problem: Box<str>,
    },
}

struct Hint<'a>(&'a Option<&'static str>, &'a [&'static str]);

impl fmt::Display for Hint<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(nearest) => write!(out, "did you mean \"{nearest}\"?"),
            None => write!(out, "there are: {}", self.1.join(", ")),
        }
    }
}

/// Reads an object whose fields are exactly those of the struct `T`.
///
/// `T` derives `Deserialize` with `deny_unknown_fields`; its field names stand only there.
pub fn read<T: DeserializeOwned>(text: &[u8]) -> Result<T, JsonError> {
    if text.len() > BYTES_MAX {
        return Err(JsonError::TooLong { bytes: text.len() });
    }
    let mut found = None;
    let known = fields_of::<T>();
    let mut names = serde_json::Deserializer::from_slice(text);
    Names {
        known,
        found: &mut found,
    }
    .deserialize(&mut names)
    .and_then(|()| names.end())
    .map_err(|error| {
        found
            .take()
            .unwrap_or_else(|| JsonError::Malformed(error.to_string().into()))
    })?;

    let mut values = serde_json::Deserializer::from_slice(text);
    serde_path_to_error::deserialize(&mut values).map_err(|error| JsonError::Field {
        field: error.path().to_string().into(),
        problem: without_position(&error.into_inner().to_string()).into(),
    })
}

/// The name in `known` that `unknown` is probably meant to be.
#[must_use]
pub fn nearest<'a>(unknown: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Longer ones are no typing errors, and the comparison takes the product of both lengths.
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

/// Positions within one value mean little once its field is named.
fn without_position(message: &str) -> &str {
    message
        .rfind(" at line ")
        .map_or(message, |at| &message[..at])
}

/// Walks over an object's names and stops at the first that is unknown or stands twice.
struct Names<'a> {
    known: &'static [&'static str],
    found: &'a mut Option<JsonError>,
}

impl<'de> DeserializeSeed<'de> for Names<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Names<'_> {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an object in braces")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<(), A::Error> {
        let mut seen = HashSet::new();
        while let Some(field) = object.next_key::<String>()? {
            let problem = if !self.known.contains(&field.as_str()) {
                JsonError::UnknownField {
                    nearest: nearest(&field, self.known.iter().copied()),
                    field: field.into(),
                    known: self.known,
                }
            } else if !seen.insert(field.clone()) {
                JsonError::Duplicate {
                    field: field.into(),
                }
            } else {
                object.next_value::<IgnoredAny>()?;
                continue;
            };
            *self.found = Some(problem);
            return Err(de::Error::custom("refused"));
        }
        Ok(())
    }
}

/// The names of the fields of a struct that derives `Deserialize`.
fn fields_of<T: DeserializeOwned>() -> &'static [&'static str] {
    let mut fields: &'static [&'static str] = &[];
    // Always an error: the probe has nothing to read from.
    let _ = T::deserialize(Probe(&mut fields));
    fields
}

/// Notes which fields a type asks for, and gives it nothing.
struct Probe<'a>(&'a mut &'static [&'static str]);

impl<'de> Deserializer<'de> for Probe<'_> {
    type Error = de::value::Error;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Self::Error> {
        Err(de::Error::custom("not a struct"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Self::Error> {
        *self.0 = fields;
        Err(de::Error::custom("only probing"))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
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
            (
                "[]",
                "not a JSON object: invalid type: sequence, expected an object in braces at line 1 column 0",
            ),
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
