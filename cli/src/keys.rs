//! Keys: secret keys sign bundles, public keys check them.

use std::io::Cursor;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ferrite_cache::bundle::{BundleManifest, KeyId, SignatureText, Trust, TrustedKey};
use minisign::{PublicKey, SecretKey, SecretKeyBox};

use crate::files::bounded_file;
use crate::terminal::password;

/// The value in a key file's field for the key derivation function that means: no password.
const KDF_NONE: [u8; 2] = [0, 0];

/// Longest key file that is read, in bytes; minisign writes about 300.
const KEY_FILE_BYTES_MAX: u64 = 4096;

/// The options that name the keys a bundle may be signed by.
#[derive(Debug, clap::Args)]
pub(crate) struct TrustArguments {
    /// Public key that the bundle may be signed by, as a file or as text. May be given several
    /// times
    #[arg(long = "key", value_name = "FILE|KEY", required = true)]
    keys: Vec<String>,

    /// Id of a key that is no longer trusted, 16 hexadecimal digits; may be given several times
    #[arg(long = "revoked", value_name = "ID")]
    revoked: Vec<KeyId>,
}

impl TrustArguments {
    /// Reads the keys.
    pub(crate) fn read(&self) -> Result<Trust> {
        Ok(Trust {
            keys: self
                .keys
                .iter()
                .map(|key| public(key))
                .collect::<Result<_>>()?,
            revoked: self.revoked.clone(),
        })
    }
}

/// Reads a public key, given as its text or as the path of its file.
pub(crate) fn public(text: &str) -> Result<TrustedKey> {
    if let Ok(key) = text.trim().parse() {
        return Ok(key);
    }
    let bytes = bounded_file::read(Path::new(text), KEY_FILE_BYTES_MAX)
        .with_context(|| format!("{text}: neither a public key nor the file of one"))?;
    let key = String::from_utf8_lossy(&bytes);
    if is_secret(&key) {
        bail!(
            "{text}: this is a secret key; name the public one beside it, whose file ends in .pub"
        );
    }
    key.parse()
        .map_err(|_| anyhow!("{text}: holds no minisign public key"))
}

/// Returns true for the text of a secret key, with or without a password.
fn is_secret(text: &str) -> bool {
    let bytes = text.lines().nth(1).map(|line| STANDARD.decode(line.trim()));
    matches!(bytes, Some(Ok(bytes)) if SecretKey::from_bytes(&bytes).is_ok())
}

/// Reads a secret key that no password protects; returns nothing for any other text.
///
/// minisign leaves the checksum of such a key empty, and the crate would call the key corrupted.
/// A key whose parts do not fit together fails when it signs.
fn without_password(text: &str) -> Option<SecretKey> {
    let bytes = STANDARD.decode(text.lines().nth(1)?.trim()).ok()?;
    let secret = SecretKey::from_bytes(&bytes).ok()?;
    (bytes.len() == secret.to_bytes().len() && bytes[2..4] == KDF_NONE).then_some(secret)
}

/// A secret key that has been read and decrypted.
pub(crate) struct Signer {
    secret: SecretKey,
    public: PublicKey,
    id: KeyId,
}

impl Signer {
    /// Reads a secret key file, as `keygen` or minisign wrote it; asks for its password if it has
    /// one.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let name = path.display().to_string();
        let bytes = bounded_file::read(path, KEY_FILE_BYTES_MAX).with_context(|| name.clone())?;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if text.parse::<TrustedKey>().is_ok() {
            bail!("{name}: this is a public key; sign with the secret one");
        }
        let secret = match without_password(&text) {
            Some(secret) => secret,
            None => {
                let boxed = SecretKeyBox::from_string(&text)
                    .map_err(|_| anyhow!("{name}: not a minisign secret key"))?;
                boxed
                    .into_secret_key(Some(password::existing(&name)?))
                    .map_err(|error| anyhow!("{name}: {error}"))?
            }
        };
        Self::new(secret).with_context(|| name)
    }

    fn new(secret: SecretKey) -> Result<Self> {
        let public = PublicKey::from_secret_key(&secret)?;
        let id = public.to_base64().parse::<TrustedKey>()?.id();
        Ok(Self { secret, public, id })
    }

    /// The key's id.
    pub(crate) fn id(&self) -> KeyId {
        self.id
    }

    /// Signs a manifest. `json` is the manifest's bytes exactly as the bundle holds them.
    pub(crate) fn sign(&self, manifest: &BundleManifest, json: &[u8]) -> Result<SignatureText> {
        let comment = format!(
            "{} {} sequence {}",
            manifest.name, manifest.version, manifest.sequence
        );
        let signature = minisign::sign(
            Some(&self.public),
            &self.secret,
            Cursor::new(json),
            Some(&comment),
            None,
        )
        .context("the manifest could not be signed")?;
        Ok(SignatureText::normalize(&signature.into_string())?)
    }
}
