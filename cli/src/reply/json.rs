//! Writes a reply as JSON.

use serde::ser::{SerializeMap, SerializeSeq, SerializeStruct};
use serde::{Serialize, Serializer};

use super::Value;

/// JSON has fewer types than RESP. Errors and strings that are not UTF-8 become an object that
/// names the type. A map becomes an object if all its keys are text, else a list of pairs.
impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Integer(value) => serializer.serialize_i64(*value),
            Self::Double(text) => match text.parse::<f64>() {
                Ok(value) if value.is_finite() => serializer.serialize_f64(value),
                _ => serializer.serialize_str(text),
            },
            Self::BigNumber(text) => serializer.serialize_str(text),
            Self::Status(bytes) | Self::Bulk(bytes) | Self::Verbatim(bytes) => {
                match std::str::from_utf8(bytes) {
                    Ok(text) => serializer.serialize_str(text),
                    Err(_) => {
                        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
                        object(serializer, "hex", &hex)
                    }
                }
            }
            Self::Error(text) => object(serializer, "error", &String::from_utf8_lossy(text)),
            Self::Array(values) | Self::Set(values) | Self::Push(values) => {
                serializer.collect_seq(values)
            }
            Self::Map(pairs) => map(serializer, pairs),
        }
    }
}

fn object<S: Serializer>(serializer: S, key: &'static str, value: &str) -> Result<S::Ok, S::Error> {
    let mut object = serializer.serialize_struct("Value", 1)?;
    object.serialize_field(key, value)?;
    object.end()
}

fn map<S: Serializer>(serializer: S, pairs: &[(Value, Value)]) -> Result<S::Ok, S::Error> {
    let key = |value: &Value| match value {
        Value::Status(bytes) | Value::Bulk(bytes) => String::from_utf8(bytes.clone()).ok(),
        _ => None,
    };
    let keys: Option<Vec<String>> = pairs.iter().map(|(name, _)| key(name)).collect();
    match keys {
        Some(keys) => {
            let mut object = serializer.serialize_map(Some(pairs.len()))?;
            for (key, (_, value)) in keys.iter().zip(pairs) {
                object.serialize_entry(key, value)?;
            }
            object.end()
        }
        None => {
            let mut list = serializer.serialize_seq(Some(pairs.len()))?;
            for pair in pairs {
                list.serialize_element(pair)?;
            }
            list.end()
        }
    }
}
