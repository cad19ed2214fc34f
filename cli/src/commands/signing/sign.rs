//! `ferrite-wasmc sign`: signs a bundle, and replaces any signature it has.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use ferrite_cache::bundle::{BundleMembers, KeyId, SIGNATURE_BYTES_MAX, SignatureText};
use serde::Serialize;

use crate::files::{bounded_file, bundle_file};
use crate::keys::Signer;
use crate::terminal::console::{Console, Exit, Report};

/// The arguments of `ferrite-wasmc sign`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Bundle to sign
    bundle: PathBuf,

    /// Secret key file, from `keygen` or minisign
    #[arg(long, value_name = "FILE", required_unless_present = "signature")]
    key: Option<PathBuf>,

    /// Signature file to add, made by minisign from the bundle's manifest.json
    #[arg(long, value_name = "FILE", conflicts_with = "key")]
    signature: Option<PathBuf>,

    /// File to write the signed bundle to. Default: the bundle is replaced
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Checks every member against the manifest, then signs the manifest unchanged.
pub(crate) fn run(arguments: Arguments, console: &Console) -> Result<Exit> {
    let Arguments {
        bundle,
        key,
        signature: made,
        output,
    } = arguments;
    let BundleMembers {
        manifest_json,
        manifest,
        signature,
        source,
        artifacts,
    } = bundle_file::read(&bundle)?;
    let signed = match (key, made) {
        (Some(key), _) => Signer::read(&key)?.sign(&manifest, &manifest_json)?,
        (None, made) => read_signature(&made.unwrap_or_default())?,
    };
    let output = output.unwrap_or(bundle);
    bundle_file::write(&output, &manifest_json, Some(&signed), &source, &artifacts)?;
    console.print(&SignReport {
        bundle: output,
        name: manifest.name,
        version: manifest.version,
        sequence: manifest.sequence,
        signed_by: signed.key(),
        replaced: signature.map(|signature| signature.key()),
    })?;
    Ok(Exit::Done)
}

/// Reads a signature file of minisign, and normalizes it for bundles.
fn read_signature(path: &Path) -> Result<SignatureText> {
    let name = || path.display().to_string();
    let bytes = bounded_file::read(path, SIGNATURE_BYTES_MAX).with_context(name)?;
    SignatureText::normalize(&String::from_utf8_lossy(&bytes)).with_context(name)
}

#[derive(Serialize)]
struct SignReport {
    bundle: PathBuf,
    name: String,
    version: String,
    sequence: u64,
    signed_by: KeyId,
    /// The key of the signature that was replaced.
    replaced: Option<KeyId>,
}

impl Report for SignReport {
    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(
            out,
            "signed {}: {} {}, sequence {}, by key {}",
            self.bundle.display(),
            self.name,
            self.version,
            self.sequence,
            self.signed_by
        )?;
        match self.replaced {
            Some(key) => writeln!(out, "the signature by key {key} was replaced"),
            None => Ok(()),
        }
    }
}
