//! Hashes of passwords: slow ones, as `ferrite-server hash-password` makes them, and plain ones.

use std::fmt;

use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;

/// Memory of a new hash, in KiB; with the rest as OWASP recommends for Argon2id.
const MEMORY_KIB: u32 = 19 * 1024;

/// Passes of a new hash over that memory.
const PASSES: u32 = 2;

/// Bytes of a salt and of a hash.
const SALT_BYTES: usize = 16;
const HASH_BYTES: usize = 32;

/// Most memory, in KiB, and most passes of a hash that is accepted: each login costs them.
const MEMORY_KIB_MAX: u32 = 1 << 20;
const PASSES_MAX: u32 = 64;

/// The hash of a password.
#[derive(Clone, PartialEq, Eq)]
pub enum PasswordHash {
    /// The blake3 hash. It keeps the password itself out of a file; only a long random password is safe
    /// behind it.
    Blake3(blake3::Hash),
    /// A slow hash with a salt.
    Argon2id(SlowHash),
}

/// An Argon2id hash with its parameters.
#[derive(Clone, PartialEq, Eq)]
pub struct SlowHash {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
    salt: Vec<u8>,
    hash: Vec<u8>,
}

/// Reason why there is no hash.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// The system has no randomness for a salt.
    #[error("the operating system gave no random bytes")]
    NoRandomness,
    /// There is no memory for the computation.
    #[error("the password cannot be hashed: {0}")]
    Argon2(argon2::Error),
}

impl PasswordHash {
    /// Returns the plain hash of a password.
    #[must_use]
    pub fn blake3(password: &[u8]) -> Self {
        Self::Blake3(blake3::hash(password))
    }

    /// Hashes a password slowly, with a new salt. It takes some tens of milliseconds and 19 MiB.
    ///
    /// # Errors
    ///
    /// If the system has no randomness or no memory.
    pub fn slow(password: &[u8]) -> Result<Self, PasswordError> {
        let mut salt = vec![0; SALT_BYTES];
        getrandom::fill(&mut salt).map_err(|_| PasswordError::NoRandomness)?;
        let mut hash = SlowHash {
            memory_kib: MEMORY_KIB,
            passes: PASSES,
            lanes: 1,
            salt,
            hash: vec![0; HASH_BYTES],
        };
        hash.hash = hash.compute(password).map_err(PasswordError::Argon2)?;
        Ok(Self::Argon2id(hash))
    }

    /// Reads a hash: `$argon2id$…`, or 64 hexadecimal digits of blake3.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.starts_with('$') {
            return SlowHash::parse(text).map(Self::Argon2id);
        }
        blake3::Hash::from_hex(text).ok().map(Self::Blake3)
    }

    /// Returns true if checking a password takes long.
    pub(crate) const fn is_slow(&self) -> bool {
        matches!(self, Self::Argon2id(_))
    }

    /// Returns true if this is the hash of the password. Takes as long if it is not.
    pub(crate) fn matches(&self, password: &[u8]) -> bool {
        match self {
            // Comparing these hashes takes constant time.
            Self::Blake3(hash) => blake3::hash(password) == *hash,
            Self::Argon2id(hash) => hash
                .compute(password)
                .is_ok_and(|computed| blake3::hash(&computed) == blake3::hash(&hash.hash)),
        }
    }
}

impl SlowHash {
    fn compute(&self, password: &[u8]) -> Result<Vec<u8>, argon2::Error> {
        let len = self.hash.len();
        let params = Params::new(self.memory_kib, self.passes, self.lanes, Some(len))?;
        let mut out = vec![0; len];
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(password, &self.salt, &mut out)?;
        Ok(out)
    }

    /// Reads `$argon2id$v=19$m=19456,t=2,p=1$SALT$HASH`.
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.strip_prefix("$argon2id$v=19$")?.split('$');
        let (costs, salt, hash) = (parts.next()?, parts.next()?, parts.next()?);
        let mut costs = costs.split(',');
        let mut cost = |name: &str| -> Option<u32> {
            costs
                .next()?
                .strip_prefix(name)?
                .strip_prefix('=')?
                .parse()
                .ok()
        };
        let parsed = Self {
            memory_kib: cost("m")?,
            passes: cost("t")?,
            lanes: cost("p")?,
            salt: BASE64.decode(salt).ok()?,
            hash: BASE64.decode(hash).ok()?,
        };
        let bounded = parsed.memory_kib <= MEMORY_KIB_MAX
            && parsed.passes <= PASSES_MAX
            && (8..=64).contains(&parsed.salt.len())
            && (16..=64).contains(&parsed.hash.len());
        let params = Params::new(
            parsed.memory_kib,
            parsed.passes,
            parsed.lanes,
            Some(parsed.hash.len()),
        );
        (bounded && params.is_ok() && parts.next().is_none()).then_some(parsed)
    }
}

/// As [`PasswordHash::parse`] reads it.
impl fmt::Display for PasswordHash {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blake3(hash) => write!(out, "{}", hash.to_hex()),
            Self::Argon2id(hash) => {
                let SlowHash {
                    memory_kib,
                    passes,
                    lanes,
                    salt,
                    hash,
                } = hash;
                write!(
                    out,
                    "$argon2id$v=19$m={memory_kib},t={passes},p={lanes}${}${}",
                    BASE64.encode(salt),
                    BASE64.encode(hash)
                )
            }
        }
    }
}

/// Hashes are not for logs.
impl fmt::Debug for PasswordHash {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("PasswordHash")
    }
}

impl fmt::Debug for SlowHash {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("SlowHash")
    }
}

#[cfg(test)]
mod tests {
    use super::PasswordHash;

    #[test]
    fn a_hash_is_read_as_it_was_written_and_takes_one_password() {
        let slow = PasswordHash::slow(b"s3cret").expect("memory");
        let plain = PasswordHash::blake3(b"s3cret");
        for hash in [&slow, &plain] {
            let again = PasswordHash::parse(&hash.to_string()).expect("ours");
            assert!(again == *hash && again.matches(b"s3cret"));
            assert!(!again.matches(b"s3cret ") && !again.matches(b""));
        }
        assert_ne!(
            slow,
            PasswordHash::slow(b"s3cret").expect("memory"),
            "the salt differs"
        );
        assert!(slow.is_slow() && !plain.is_slow());
        assert!(
            slow.to_string()
                .starts_with("$argon2id$v=19$m=19456,t=2,p=1$")
        );
    }

    /// Made by the reference implementation: `echo -n password | argon2 somesalt -id -t 2 -k 256`.
    #[test]
    fn hashes_of_other_programs_are_taken() {
        let text =
            "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";
        let hash = PasswordHash::parse(text).expect("a hash");
        assert!(hash.matches(b"password") && !hash.matches(b"passwort"));
    }

    #[test]
    fn what_is_no_hash_is_refused() {
        for text in [
            "",
            "12",
            "$argon2id$",
            "$argon2i$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
            "$argon2id$v=19$m=99999999,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
            "$argon2id$v=19$m=256,t=0,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
            "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4$x",
            "$argon2id$v=19$m=256,t=2,p=1$!$nf65",
        ] {
            assert!(PasswordHash::parse(text).is_none(), "{text}");
        }
    }
}
