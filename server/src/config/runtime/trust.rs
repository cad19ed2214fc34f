//! Reads the keys that bundles are signed with.

use ferrite_cache::bundle::KeyIdError;
use ferrite_runtime::artifact::trust::{KeyError, TrustOptions};

use crate::config::Config;

/// Reason why the keys of the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// A text that is no key and no file of one.
    #[error("wasm.security.trusted_keys: {0}")]
    Trusted(#[from] KeyError),
    /// A text that is no key id.
    #[error("wasm.security.revoked_keys: {0}")]
    Revoked(#[from] KeyIdError),
    /// Signatures are required, but no key is trusted.
    #[error(
        "wasm.security.require_signed is true and trusted_keys is empty; nothing could be loaded"
    )]
    Nobody,
}

/// Reads the keys. Relative paths of key files are resolved against `server.dir`.
pub(crate) fn read(config: &Config) -> Result<TrustOptions, KeysError> {
    let security = &config.security;
    let mut trust = TrustOptions {
        require_signed: security.require_signed,
        ..TrustOptions::default()
    };
    let folder = config.below_dir("".as_ref());
    for text in &security.trusted_keys {
        trust.trust_key(text, &folder)?;
    }
    for id in &security.revoked_keys {
        trust.revoke_key(id)?;
    }
    if trust.refuses_everything() {
        return Err(KeysError::Nobody);
    }
    Ok(trust)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Config, read};

    /// A public key as minisign writes it; its id is 8000000000000001.
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
