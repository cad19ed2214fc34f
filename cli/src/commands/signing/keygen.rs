//! `ferrite-wasmc keygen`: creates a key pair for signing bundles.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use ferrite_cache::bundle::{KeyId, TrustedKey};
use minisign::KeyPair;
use serde::Serialize;

use crate::files::atomic_file;
use crate::terminal::console::{Console, Exit, Report};
use crate::terminal::password;

/// The arguments of `ferrite-wasmc keygen`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Name of the two files: NAME.key is the secret key, NAME.pub is for those who trust it
    #[arg(short, long, value_name = "NAME")]
    output: PathBuf,
}

/// Creates a key pair in minisign's format.
pub(crate) fn run(arguments: Arguments, console: &Console) -> Result<Exit> {
    let Arguments { output } = arguments;
    let (secret, public) = (with_ending(&output, ".key"), with_ending(&output, ".pub"));
    for path in [&secret, &public] {
        // Checked before asking for a password; writing checks again.
        if path.symlink_metadata().is_ok() {
            bail!(
                "{} exists already; keys are never overwritten",
                path.display()
            );
        }
    }
    let folder = output.parent().filter(|path| !path.as_os_str().is_empty());
    if let Some(folder) = folder
        && !folder.is_dir()
    {
        bail!("there is no folder {}; make it first", folder.display());
    }
    let password = password::new(&secret.display().to_string())?;
    let encrypted = !password.is_empty();
    let pair = if encrypted {
        KeyPair::generate_encrypted_keypair(Some(password))
    } else {
        KeyPair::generate_unencrypted_keypair()
    }
    .context("no key pair could be made")?;
    let public_text = pair.pk.to_box()?.into_string();
    let secret_text = pair.sk.to_box(Some("secret key of a signer of bundles"))?;
    let text = secret_text.into_string();
    atomic_file::write(&secret, 0o600, true, |out| {
        Ok(out.write_all(text.as_bytes())?)
    })?;
    atomic_file::write(&public, 0o644, true, |out| {
        Ok(out.write_all(public_text.as_bytes())?)
    })?;
    let key: TrustedKey = public_text.parse()?;
    console.print(&KeygenReport {
        id: key.id(),
        public_key: pair.pk.to_base64(),
        public,
        secret,
        encrypted,
    })?;
    Ok(Exit::Done)
}

fn with_ending(name: &Path, ending: &str) -> PathBuf {
    let mut path = OsString::from(name);
    path.push(ending);
    path.into()
}

#[derive(Serialize)]
struct KeygenReport {
    id: KeyId,
    public_key: String,
    public: PathBuf,
    secret: PathBuf,
    /// True if a password protects the secret key.
    encrypted: bool,
}

impl Report for KeygenReport {
    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "key      {}", self.id)?;
        let protected = if self.encrypted {
            "protected by its password"
        } else {
            "without a password: anyone who can read it can sign"
        };
        writeln!(out, "secret   {}  {protected}", self.secret.display())?;
        writeln!(out, "public   {}", self.public.display())?;
        writeln!(out, "trust    trusted_keys = [\"{}\"]", self.public_key)
    }
}
