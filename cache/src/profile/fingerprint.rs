//! The short name of a profile, and how it is computed.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The first 8 bytes of a blake3 hash, written as 16 lowercase hex digits. It names directories.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint([u8; 8]);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", u64::from_be_bytes(self.0))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Fingerprint {
    type Err = FingerprintError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if text.len() != 16 || !digits {
            return Err(FingerprintError);
        }
        u64::from_str_radix(text, 16)
            .map(|value| Self(value.to_be_bytes()))
            .map_err(|_| FingerprintError)
    }
}

impl Serialize for Fingerprint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Fingerprint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

/// A text that is not a fingerprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a profile's fingerprint has 16 lowercase hex digits")]
pub struct FingerprintError;

/// Hashes named values unambiguously: every name and value is preceded by its length, every list by
/// the number of its elements.
pub(super) struct FingerprintHasher(blake3::Hasher);

impl FingerprintHasher {
    /// Starts an encoding; `domain` is its name and version.
    pub(super) fn new(domain: &str) -> Self {
        let mut hasher = Self(blake3::Hasher::new());
        hasher.bytes(domain.as_bytes());
        hasher
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.0.update(&(bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
    }

    pub(super) fn text(&mut self, name: &str, value: &str) {
        self.bytes(name.as_bytes());
        self.bytes(value.as_bytes());
    }

    pub(super) fn number(&mut self, name: &str, value: u64) {
        self.bytes(name.as_bytes());
        self.bytes(&value.to_le_bytes());
    }

    pub(super) fn texts(&mut self, name: &str, values: &[String]) {
        self.number(name, values.len() as u64);
        for value in values {
            self.bytes(value.as_bytes());
        }
    }

    pub(super) fn finish(self) -> Fingerprint {
        let hash = self.0.finalize();
        let mut short = [0; 8];
        short.copy_from_slice(&hash.as_bytes()[..8]);
        Fingerprint(short)
    }
}

#[cfg(test)]
mod tests {
    use super::{Fingerprint, FingerprintError, FingerprintHasher};

    #[test]
    fn text_round_trips_and_everything_else_is_refused() {
        let fingerprint = FingerprintHasher::new("test").finish();
        assert_eq!(fingerprint.to_string().len(), 16);
        assert_eq!(fingerprint.to_string().parse(), Ok(fingerprint));
        for wrong in [
            "",
            "0123",
            "0123456789ABCDEF",
            "+123456789abcdef",
            "../../../../../.",
        ] {
            assert_eq!(wrong.parse::<Fingerprint>(), Err(FingerprintError));
        }
    }

    #[test]
    fn neighbouring_values_do_not_run_together() {
        let of = |values: &[&str]| {
            let mut hasher = FingerprintHasher::new("test");
            let values: Vec<String> = values.iter().map(|&value| value.to_owned()).collect();
            hasher.texts("list", &values);
            hasher.finish()
        };
        assert_ne!(of(&["ab", "c"]), of(&["a", "bc"]));
        assert_ne!(of(&["ab"]), of(&["ab", ""]));
    }
}
