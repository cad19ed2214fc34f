//! Whose native code is loaded.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use ferrite_cache::bundle::{KeyIdError, Trust, TrustedKey};

/// Whose native code is loaded.
#[derive(Clone, Debug, Default)]
pub struct TrustOptions {
    /// The keys whose bundles are believed, and those that are believed no more.
    pub trust: Trust,
    /// Whether nothing but what a trusted key signed is loaded.
    pub require_signed: bool,
}

/// Longest file of a public key that is read, in bytes; minisign writes about 110.
const KEY_FILE_BYTES_MAX: u64 = 4096;

/// Why a text names no trusted key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// A text that is neither a key nor a file.
    #[error(
        "{text:?} is neither a minisign public key nor the path of its file ({path} cannot be read)",
        path = path.display()
    )]
    Neither {
        /// What was configured.
        text: String,
        /// Where a file was looked for.
        path: PathBuf,
        /// What the file system says.
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
    /// Believes a key from now on: its text, or the path of its file, below `folder` if relative.
    ///
    /// # Errors
    ///
    /// When it is neither.
    pub fn trust_key(&mut self, text: &str, folder: &Path) -> Result<(), KeyError> {
        let text = text.trim();
        let key = match text.parse() {
            Ok(key) => key,
            Err(_) => read_key(text, &folder.join(text))?,
        };
        self.trust.keys.push(key);
        Ok(())
    }

    /// Believes the key of this id, 16 hexadecimal digits, no more.
    ///
    /// # Errors
    ///
    /// When it is no id.
    pub fn revoke_key(&mut self, id: &str) -> Result<(), KeyIdError> {
        self.trust.revoked.push(id.trim().parse()?);
        Ok(())
    }

    /// Whether nothing could ever be loaded: signatures are asked for and no key is believed.
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

/// The time in seconds since 1970.
pub(crate) fn now_unix() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
