//! The identity of bytes: their blake3 hash.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// What a digest starts with when it is written down.
const PREFIX: &str = "blake3:";

/// Length of a digest in hex.
const HEX_DIGITS: usize = 64;

/// The blake3 hash of some bytes, written `blake3:<64 lowercase hex digits>`.
///
/// ```
/// use ferrite_cache::Digest;
/// let digest = Digest::of(b"");
/// assert!(digest.to_string().starts_with("blake3:af1349b9"));
/// assert_eq!(digest.to_string().parse(), Ok(digest));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Hashes `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }

    /// The digest with these bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The hash itself.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The 64 lowercase hex digits, without the prefix: what file names are made of.
    #[must_use]
    pub fn hex(&self) -> String {
        blake3::Hash::from_bytes(self.0).to_hex().to_string()
    }

    /// The digest that [`Digest::hex`] wrote.
    ///
    /// # Errors
    ///
    /// Anything but exactly 64 lowercase hex digits.
    pub fn from_hex(hex: &str) -> Result<Self, DigestError> {
        let lowercase = hex
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if hex.len() != HEX_DIGITS || !lowercase {
            return Err(DigestError::Digits {
                count: hex.chars().count(),
            });
        }
        blake3::Hash::from_hex(hex)
            .map(|hash| Self(*hash.as_bytes()))
            .map_err(|_| DigestError::Digits { count: hex.len() })
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let hex = text.strip_prefix(PREFIX).ok_or(DigestError::Prefix)?;
        Self::from_hex(hex)
    }
}

/// A string where people read it, 32 bytes elsewhere.
impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            self.0.serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
            text.parse().map_err(de::Error::custom)
        } else {
            <[u8; 32]>::deserialize(deserializer).map(Self)
        }
    }
}

/// Why a text is not a digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    /// It does not start with `blake3:`.
    #[error("a digest starts with `blake3:`, followed by 64 lowercase hex digits")]
    Prefix,
    /// What follows is not 64 lowercase hex digits.
    #[error("a digest has 64 lowercase hex digits; this one has {}", digits_problem(*.count))]
    Digits {
        /// Characters found after the prefix.
        count: usize,
    },
}

fn digits_problem(count: usize) -> String {
    match count {
        HEX_DIGITS => "other characters".to_owned(),
        1 => "1 character".to_owned(),
        _ => format!("{count} characters"),
    }
}

#[cfg(test)]
mod tests {
    use super::{Digest, DigestError};

    #[test]
    fn text_round_trips_and_everything_else_is_refused() {
        let digest = Digest::of(b"wasm");
        let text = digest.to_string();
        assert_eq!(text.parse(), Ok(digest));
        assert_eq!(Digest::from_hex(&digest.hex()), Ok(digest));

        assert_eq!(digest.hex().parse::<Digest>(), Err(DigestError::Prefix));
        assert_eq!("sha256:00".parse::<Digest>(), Err(DigestError::Prefix));
        for wrong in [
            String::from("blake3:"),
            text[..70].to_owned(),
            format!("{text}0"),
            text.to_uppercase().replace("BLAKE3", "blake3"),
            format!("blake3:{}", "é".repeat(32)),
            text.replace(&text[10..11], "/"),
        ] {
            assert!(
                matches!(wrong.parse::<Digest>(), Err(DigestError::Digits { .. })),
                "{wrong} was taken for a digest"
            );
        }
    }

    #[test]
    fn is_a_string_in_json() {
        let digest = Digest::of(b"wasm");
        let json = serde_json::to_string(&digest).expect("a digest is a string");
        assert_eq!(json, format!("\"{digest}\""));
        assert_eq!(
            serde_json::from_str::<Digest>(&json).expect("it reads back"),
            digest
        );
        assert!(serde_json::from_str::<Digest>("\"blake3:0\"").is_err());
        assert!(serde_json::from_reader::<_, Digest>(json.as_bytes()).is_ok());
    }
}
