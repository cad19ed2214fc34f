//! `ferrite-wasmc verify`: checks a bundle as a server that trusts the given keys would.

use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::{Context, Result};
use ferrite_cache::Digest;
use ferrite_cache::bundle::{BundleContents, KeyId};
use serde::Serialize;

use crate::clock::now_unix;
use crate::files::bundle_file;
use crate::keys::TrustArguments;
use crate::terminal::console::{Console, Exit, Report};

/// The arguments of `ferrite-wasmc verify`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Bundle to check
    bundle: PathBuf,

    #[command(flatten)]
    trust: TrustArguments,
}

/// Checks signature, expiry and every byte. Exit code 3 if a server would refuse the bundle.
pub(crate) fn run(arguments: Arguments, console: &Console) -> Result<Exit> {
    let Arguments { bundle, trust } = arguments;
    let trust = trust.read()?;
    let name = || bundle.display().to_string();
    let unchecked = bundle_file::open(&bundle)?;
    let comment = unchecked
        .signature()
        .map(|signature| signature.trusted_comment().to_owned());
    let BundleContents {
        manifest,
        key,
        source: _,
        artifacts: _,
    } = unchecked
        .trust(&trust, now_unix())
        .and_then(|trusted| trusted.read(&[]))
        .with_context(name)?;
    console.print(&VerifyReport {
        name: manifest.name,
        version: manifest.version,
        sequence: manifest.sequence,
        expires_unix: manifest.expires_unix,
        signed_by: key,
        comment: comment.unwrap_or_default(),
        source: manifest.source.digest,
        artifacts: manifest.artifacts.len(),
        bundle,
    })?;
    Ok(Exit::Done)
}

#[derive(Serialize)]
struct VerifyReport {
    bundle: PathBuf,
    name: String,
    version: String,
    sequence: u64,
    expires_unix: Option<u64>,
    signed_by: KeyId,
    /// The signature's trusted comment, which is signed together with the manifest.
    comment: String,
    source: Digest,
    artifacts: usize,
}

impl Report for VerifyReport {
    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(
            out,
            "{} is {} {}, sequence {}, signed by key {}",
            self.bundle.display(),
            self.name,
            self.version,
            self.sequence,
            self.signed_by
        )?;
        writeln!(out, "every byte is as it was signed")
    }
}
