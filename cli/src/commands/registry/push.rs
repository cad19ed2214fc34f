//! `ferrite-wasmc push`: uploads a bundle to an OCI registry.

use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::{Result, bail};
use ferrite_cache::bundle::KeyId;
use serde::Serialize;

use crate::files::bundle_file;
use crate::oci::{self, Registry};
use crate::terminal::console::{Console, Exit, Report, UsageError};
use crate::terminal::progress::Progress;
use crate::terminal::units::Bytes;

/// The arguments of `ferrite-wasmc push`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Signed bundle to upload
    bundle: PathBuf,

    /// Name in the registry, such as `ghcr.io/team/rate:1.2.0`. Credentials come from
    /// FERRITE_REGISTRY_USER and FERRITE_REGISTRY_PASSWORD, or from `docker login`
    #[arg(value_name = "REGISTRY/NAME:TAG")]
    place: String,

    /// Connect without TLS; registries on this machine are always accessed without it
    #[arg(long)]
    plain_http: bool,
}

/// Checks that the file is a signed bundle, and uploads it unchanged.
pub(crate) fn run(arguments: Arguments, console: &Console) -> Result<Exit> {
    let Arguments {
        bundle,
        place,
        plain_http,
    } = arguments;
    let members = bundle_file::read(&bundle)?;
    let Some(signature) = members.signature else {
        bail!(UsageError(format!(
            "{}: the bundle is not signed, so no server would load it; sign it first",
            bundle.display()
        )));
    };
    let registry = Registry::new(&place, plain_http)?;
    let bytes = oci::read(&bundle)?;
    let progress = Progress::new(1, console.is_json());
    let size = Bytes(bytes.len() as u64);
    progress.set_message(&format!("pushing {size} to {}", registry.name()));
    let digest = registry.push(&members.manifest, bytes)?;
    drop(progress);
    console.print(&PushReport {
        place: registry.name(),
        digest,
        name: members.manifest.name,
        version: members.manifest.version,
        signed_by: signature.key(),
    })?;
    Ok(Exit::Done)
}

#[derive(Serialize)]
struct PushReport {
    place: String,
    /// Digest of the artifact. Pulling by digest works even after the tag has moved.
    digest: String,
    name: String,
    version: String,
    /// The key that the signature names; the signature was not checked.
    signed_by: KeyId,
}

impl Report for PushReport {
    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(
            out,
            "pushed {} {}, signed by key {}",
            self.name, self.version, self.signed_by
        )?;
        writeln!(out, "  to      {}", self.place)?;
        writeln!(out, "  digest  {}", self.digest)
    }
}
