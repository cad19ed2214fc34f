//! Trusted keys: whose native code is loaded.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use ferrite_cache::bundle::{KeyIdError, Trust, TrustedKey};

/// The keys whose native code is loaded.
#[derive(Clone, Debug, Default)]
pub struct TrustOptions {
    /// Trusted and revoked keys.
    pub trust: Trust,
    /// True to load only what a trusted key signed.
    pub require_signed: bool,
}

/// Longest file of a public key that is read, in bytes; minisign writes about 110.
const KEY_FILE_BYTES_MAX: u64 = 4096;

/// Reason why a text names no trusted key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// A text that is neither a key nor a file.
    #[error(
        "{text:?} is neither a minisign public key nor the path of its file ({path} cannot be read)",
        path = path.display()
    )]
    Neither {
        /// The configured text.
        text: String,
        /// The path that was tried.
        path: PathBuf,
        /// The file system's error.
        #[source]
        source: io::Error,
    },
    /// A file without a key.
    #[error("{} holds no minisign public key", path.display())]
    File {
        /// The file.
        path: PathBuf,
    },
}

impl TrustOptions {
    /// Trusts a key, given as its text or as the path of its file (relative to `folder`).
    ///
    /// # Errors
    ///
    /// The text is neither.
    pub fn trust_key(&mut self, text: &str, folder: &Path) -> Result<(), KeyError> {
        let text = text.trim();
        let key = match text.parse() {
            Ok(key) => key,
            Err(_) => read_key(text, &folder.join(text))?,
        };
        self.trust.keys.push(key);
        Ok(())
    }

    /// Revokes the key of this id, 16 hexadecimal digits.
    ///
    /// # Errors
    ///
    /// The text is not an id.
    pub fn revoke_key(&mut self, id: &str) -> Result<(), KeyIdError> {
        self.trust.revoked.push(id.trim().parse()?);
        Ok(())
    }

    /// Returns true if nothing can be loaded: signatures are required and no key is trusted.
    #[must_use]
    pub fn refuses_everything(&self) -> bool {
        self.require_signed && self.trust.keys.is_empty()
    }
}

fn read_key(text: &str, path: &Path) -> Result<TrustedKey, KeyError> {
    let mut content = String::new();
    File::open(path)
        .and_then(|file| file.take(KEY_FILE_BYTES_MAX).read_to_string(&mut content))
        .map_err(|source| KeyError::Neither {
            text: text.chars().take(80).collect(),
            path: path.to_owned(),
            source,
        })?;
    content.parse().map_err(|_| KeyError::File {
        path: path.to_owned(),
    })
}

/// Returns the time in seconds since 1970.
pub(crate) fn now_unix() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
