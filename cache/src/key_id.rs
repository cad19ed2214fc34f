//! The id of a key that signs bundles.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The id of a minisign key, written as 16 hexadecimal digits like minisign does.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId(u64);

impl KeyId {
    /// Reads the id from the 8 bytes that keys and signatures store.
    pub(crate) const fn from_le_bytes(bytes: [u8; 8]) -> Self {
        Self(u64::from_le_bytes(bytes))
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016X}", self.0)
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

impl FromStr for KeyId {
    type Err = KeyIdError;

    fn from_str(text: &str) -> Result<Self, KeyIdError> {
        let digits = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        match u64::from_str_radix(text, 16) {
            Ok(id) if digits => Ok(Self(id)),
            _ => Err(KeyIdError {
                text: text.chars().take(40).collect(),
            }),
        }
    }
}

impl Serialize for KeyId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for KeyId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

/// A text is not a key id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a key id, which has 16 hexadecimal digits")]
pub struct KeyIdError {
    text: String,
}

#[cfg(test)]
mod tests {
    use super::KeyId;

    #[test]
    fn ids_are_written_as_minisign_writes_them() {
        let id = KeyId::from_le_bytes([0xef, 0xcd, 0xab, 0, 0, 0, 0, 1]);
        assert_eq!(id.to_string(), "0100000000ABCDEF");
        assert_eq!("0100000000abcdef".parse(), Ok(id));
        for text in ["", "12", "+100000000abcdef", "0100000000abcdefg"] {
            assert!(text.parse::<KeyId>().is_err(), "{text}");
        }
    }
}
