//! The keys of the configuration: whose bundles are loaded.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::PathBuf;

use ferrite_cache::bundle::{KeyIdError, Trust, TrustedKey};
use ferrite_runtime::trust::TrustOptions;

use super::Config;

/// Longest file of a public key that is read, in bytes; minisign writes about 110.
const KEY_FILE_BYTES_MAX: u64 = 4096;

/// What can be wrong with the keys of the configuration.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// A text that is neither a key nor a file.
    #[error(
        "wasm.security.trusted_keys: {text:?} is neither a minisign public key nor the path of its file ({path} cannot be read)",
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
    #[error("wasm.security.trusted_keys: {} holds no minisign public key", path.display())]
    File {
        /// The file.
        path: PathBuf,
    },
    /// A text that is no key id.
    #[error("wasm.security.revoked_keys: {0}")]
    Revoked(#[from] KeyIdError),
    /// Nothing could ever be loaded.
    #[error(
        "wasm.security.require_signed is true and trusted_keys is empty; nothing could be loaded"
    )]
    Nobody,
}

/// Reads the keys; files that are named relatively are taken from `server.dir`.
pub(crate) fn read(config: &Config) -> Result<TrustOptions, KeysError> {
    let security = &config.security;
    let mut trust = Trust::default();
    for text in &security.trusted_keys {
        let text = text.trim();
        trust.keys.push(match text.parse() {
            Ok(key) => key,
            Err(_) => from_file(config, text)?,
        });
    }
    for id in &security.revoked_keys {
        trust.revoked.push(id.trim().parse()?);
    }
    if security.require_signed && trust.keys.is_empty() {
        return Err(KeysError::Nobody);
    }
    Ok(TrustOptions {
        trust,
        require_signed: security.require_signed,
    })
}

fn from_file(config: &Config, text: &str) -> Result<TrustedKey, KeysError> {
    let path = config.below_dir(text.as_ref());
    let mut content = String::new();
    File::open(&path)
        .and_then(|file| file.take(KEY_FILE_BYTES_MAX).read_to_string(&mut content))
        .map_err(|source| KeysError::Neither {
            text: text.chars().take(80).collect(),
            path: path.clone(),
            source,
        })?;
    content.parse().map_err(|_| KeysError::File { path })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Config, read};

    /// A public key as minisign writes it, and the id in it.
    const KEY: &str = "RWQBAAAAAAAAgAEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB";

    fn parse(dir: &Path, lines: &str) -> Result<Config, String> {
        let text = format!(
            "[server]\ndir = \"{}\"\n[wasm.security]\n{lines}",
            dir.display()
        );
        Config::parse("ferrite.toml".as_ref(), &text).map_err(|error| error.to_string())
    }

    #[test]
    fn keys_are_texts_or_files() -> std::io::Result<()> {
        let folder = tempfile::tempdir()?;
        let dir = folder.path();
        std::fs::write(
            dir.join("ci.pub"),
            format!("untrusted comment: minisign public key\n{KEY}\n"),
        )?;
        let config = parse(
            dir,
            &format!(
                "trusted_keys = [\"{KEY}\", \"ci.pub\"]\nrevoked_keys = [\"8000000000000001\"]"
            ),
        )
        .expect("it is right");
        let options = read(&config).expect("it is right");
        assert_eq!(options.trust.keys.len(), 2);
        let id = options.trust.keys[1].id();
        assert_eq!(options.trust.revoked, [id]);
        assert!(!options.require_signed);
        Ok(())
    }

    #[test]
    fn what_is_no_key_is_said_at_the_start() -> std::io::Result<()> {
        let folder = tempfile::tempdir()?;
        std::fs::write(folder.path().join("empty.pub"), "")?;
        for (lines, expected) in [
            (
                "trusted_keys = [\"missing.pub\"]",
                "\"missing.pub\" is neither a minisign public key nor the path of its file",
            ),
            (
                "trusted_keys = [\"empty.pub\"]",
                "holds no minisign public key",
            ),
            (
                "revoked_keys = [\"12\"]",
                "revoked_keys: \"12\" is not a key id, which has 16 hexadecimal digits",
            ),
            ("require_signed = true", "nothing could be loaded"),
        ] {
            let error = parse(folder.path(), lines).expect_err(lines);
            assert!(error.contains(expected), "{error}");
        }
        Ok(())
    }
}
