//! The replies that the table expects.

use ferrite_wasm_sdk::Value;
use serde::Deserialize;
use serde::de::Error;

/// A reply that a case expects.
#[derive(Clone, Debug, PartialEq)]
pub enum Expected {
    /// Exactly this one.
    Exactly(Value),
    /// An error whose text starts with the first part and has the others.
    ErrorWith(Vec<String>),
    /// An integer from the first to the second, both included: for what depends on the time.
    Between(i64, i64),
}

impl Expected {
    /// Returns true if a reply is the expected one.
    ///
    /// It may have come by RESP2, where booleans are integers, doubles strings and maps flat arrays.
    #[must_use]
    pub fn matches(&self, reply: &Value) -> bool {
        match (self, reply) {
            (Self::Exactly(expected), reply) => {
                expected == reply || resp2(expected.clone()) == *reply
            }
            (Self::ErrorWith(parts), Value::Error(text)) => {
                parts.first().is_none_or(|first| text.starts_with(first))
                    && parts.iter().all(|part| text.contains(part))
            }
            (Self::Between(least, most), Value::Int(number)) => (least..=most).contains(&number),
            (Self::ErrorWith(_) | Self::Between(..), _) => false,
        }
    }
}

/// Returns a reply as RESP2 shows it.
fn resp2(value: Value) -> Value {
    match value {
        Value::Bool(truth) => Value::Int(truth.into()),
        Value::Double(number) => Value::Bulk(number.to_string().into()),
        Value::Array(items) => Value::Array(items.into_iter().map(resp2).collect()),
        Value::Map(pairs) => Value::Array(
            pairs
                .into_iter()
                .flat_map(|(key, value)| [resp2(key), resp2(value)])
                .collect(),
        ),
        Value::Null | Value::Int(_) | Value::Bulk(_) | Value::Simple(_) | Value::Error(_) => value,
    }
}

/// An object with one member, which says what kind of reply it is.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Tagged {
    Double(f64),
    Simple(String),
    Error(String),
    ErrorWith(Vec<String>),
    Between(i64, i64),
    Map(Vec<(serde_json::Value, serde_json::Value)>),
}

impl<'de> Deserialize<'de> for Expected {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = serde_json::Value::deserialize(deserializer)?;
        expected(json).map_err(D::Error::custom)
    }
}

fn expected(json: serde_json::Value) -> Result<Expected, String> {
    if let serde_json::Value::Object(_) = &json {
        match tagged(json.clone())? {
            Tagged::ErrorWith(parts) => return Ok(Expected::ErrorWith(parts)),
            Tagged::Between(least, most) => return Ok(Expected::Between(least, most)),
            _ => {}
        }
    }
    value(json).map(Expected::Exactly)
}

fn tagged(json: serde_json::Value) -> Result<Tagged, String> {
    serde_json::from_value(json).map_err(|error| error.to_string())
}

fn value(json: serde_json::Value) -> Result<Value, String> {
    Ok(match json {
        serde_json::Value::Null => Value::Null,
        serde_json::Value::Bool(truth) => Value::Bool(truth),
        serde_json::Value::Number(number) => Value::Int(
            number
                .as_i64()
                .ok_or_else(|| format!("{number} is no integer; write {{\"double\": {number}}}"))?,
        ),
        serde_json::Value::String(text) => Value::Bulk(text.into()),
        serde_json::Value::Array(items) => {
            Value::Array(items.into_iter().map(value).collect::<Result<_, _>>()?)
        }
        object @ serde_json::Value::Object(_) => match tagged(object)? {
            Tagged::Double(number) => Value::Double(number),
            Tagged::Simple(text) => Value::Simple(text),
            Tagged::Error(text) => Value::Error(text),
            Tagged::ErrorWith(_) | Tagged::Between(..) => {
                return Err("error_with and between cannot stand inside a reply".into());
            }
            Tagged::Map(pairs) => Value::Map(
                pairs
                    .into_iter()
                    .map(|(key, item)| Ok((value(key)?, value(item)?)))
                    .collect::<Result<_, String>>()?,
            ),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::Expected;
    use ferrite_wasm_sdk::Value;

    fn expected(json: &str) -> Expected {
        serde_json::from_str(json).expect("the test's JSON is a reply")
    }

    #[test]
    fn a_reply_matches_in_both_protocols() {
        let map = expected(r#"{"map": [["allowed", true], ["ratio", {"double": 0.5}]]}"#);
        assert!(map.matches(&Value::Map(vec![
            (Value::from("allowed"), Value::Bool(true)),
            (Value::from("ratio"), Value::Double(0.5)),
        ])));
        assert!(map.matches(&Value::Array(vec![
            Value::from("allowed"),
            Value::Int(1),
            Value::from("ratio"),
            Value::from("0.5"),
        ])));
        assert!(!map.matches(&Value::Map(vec![])));
    }

    #[test]
    fn errors_match_whole_or_by_parts() {
        let reply = Value::Error("ERR f: 'limit' (ARGS[1], i64) must be more".into());
        assert!(expected(r#"{"error_with": ["ERR f:", "must be"]}"#).matches(&reply));
        assert!(!expected(r#"{"error_with": ["f:", "must be"]}"#).matches(&reply));
        assert!(!expected(r#"{"error": "ERR f:"}"#).matches(&reply));
        assert!(!expected(r#"{"error_with": []}"#).matches(&Value::Null));
        assert!(expected(r#"{"between": [5, 6]}"#).matches(&Value::Int(6)));
        assert!(!expected(r#"{"between": [5, 6]}"#).matches(&Value::Int(7)));
    }

    #[test]
    fn what_is_no_reply_is_refused() {
        for json in ["1.5", r#"{"bool": true}"#, r#"[{"error_with": ["x"]}]"#] {
            assert!(serde_json::from_str::<Expected>(json).is_err(), "{json}");
        }
    }
}
