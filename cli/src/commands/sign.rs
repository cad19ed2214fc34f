//! `ferrite-wasmc sign`: signs a bundle, or signs it anew.

use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::Result;
use ferrite_cache::bundle::{BundleMembers, KeyId};
use serde::Serialize;

use crate::bundle_file;
use crate::console::{Console, Exit, Report};
use crate::keys::Signer;

/// What was typed after `sign`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Bundle to sign
    bundle: PathBuf,

    /// Secret key, as `keygen` or minisign wrote it
    #[arg(long, value_name = "FILE")]
    key: PathBuf,

    /// Write the signed bundle here instead of in place
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Signs the manifest as it is; every member is held against it first.
pub(crate) fn run(arguments: Arguments, console: &Console) -> Result<Exit> {
    let Arguments {
        bundle,
        key,
        output,
    } = arguments;
    let BundleMembers {
        manifest_json,
        manifest,
        signature,
        source,
        artifacts,
    } = bundle_file::read(&bundle)?;
    let signer = Signer::read(&key)?;
    let signed = signer.sign(&manifest, &manifest_json)?;
    let output = output.unwrap_or(bundle);
    bundle_file::write(&output, &manifest_json, Some(&signed), &source, &artifacts)?;
    console.print(&SignReport {
        bundle: output,
        name: manifest.name,
        version: manifest.version,
        sequence: manifest.sequence,
        signed_by: signer.id(),
        replaced: signature.map(|signature| signature.key()),
    })?;
    Ok(Exit::Done)
}

#[derive(Serialize)]
struct SignReport {
    bundle: PathBuf,
    name: String,
    version: String,
    sequence: u64,
    signed_by: KeyId,
    /// The key whose signature was there before.
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
