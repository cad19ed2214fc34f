//! `allow_network` in JSON: `false`, or a list of rules.

use std::fmt;

use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserializer, Serialize, Serializer};

pub(super) fn serialize<S: Serializer>(rules: &[String], out: S) -> Result<S::Ok, S::Error> {
    if rules.is_empty() {
        return out.serialize_bool(false);
    }
    rules.serialize(out)
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(json: D) -> Result<Vec<String>, D::Error> {
    json.deserialize_any(Rules)
}

struct Rules;

impl<'de> Visitor<'de> for Rules {
    type Value = Vec<String>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("false or a list such as [\"https://api.example.com/v1/*\"]")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Vec<String>, E> {
        if value {
            return Err(E::custom(
                "the network is not allowed as a whole; list what is needed, such as [\"https://api.example.com/v1/*\"]",
            ));
        }
        Ok(Vec::new())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<String>, A::Error> {
        let mut rules = Vec::new();
        while let Some(rule) = list.next_element()? {
            rules.push(rule);
        }
        Ok(rules)
    }
}
