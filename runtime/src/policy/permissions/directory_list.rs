//! `allow_filesystem` in JSON: `false`, or a list of names.

use std::fmt;

use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserializer, Serialize, Serializer};

pub(super) fn serialize<S: Serializer>(names: &[String], out: S) -> Result<S::Ok, S::Error> {
    if names.is_empty() {
        return out.serialize_bool(false);
    }
    names.serialize(out)
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(json: D) -> Result<Vec<String>, D::Error> {
    json.deserialize_any(Names)
}

struct Names;

impl<'de> Visitor<'de> for Names {
    type Value = Vec<String>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("false or a list of names such as [\"models\"]")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Vec<String>, E> {
        if value {
            return Err(E::custom(
                "files are not allowed as a whole; list the directories that are needed, such as [\"models\"]",
            ));
        }
        Ok(Vec::new())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<String>, A::Error> {
        let mut names = Vec::new();
        while let Some(name) = list.next_element()? {
            names.push(name);
        }
        Ok(names)
    }
}
