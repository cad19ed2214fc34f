//! `ferrite-wasmc pull`: downloads a bundle from an OCI registry.

use std::fs::Permissions;
use std::io::{self, BufReader, Seek as _, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use ferrite_cache::bundle::{BundleLimits, KeyId, UncheckedBundle};
use serde::Serialize;

use crate::clock::now_unix;
use crate::keys::TrustArguments;
use crate::oci::Registry;
use crate::terminal::console::{Console, Exit, Report};
use crate::terminal::progress::Progress;

/// The arguments of `ferrite-wasmc pull`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Bundle to download, such as `ghcr.io/team/rate:1.2.0` or `ghcr.io/team/rate@sha256:…`
    #[arg(value_name = "REGISTRY/NAME:TAG")]
    place: String,

    /// File to write the bundle to. Default: NAME-VERSION.cwasm.tar
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    #[command(flatten)]
    trust: TrustArguments,

    /// Connect without TLS; registries on this machine are always accessed without it
    #[arg(long)]
    plain_http: bool,
}

/// Downloads to a temporary file, checks the bundle, and only then gives the file its name.
pub(crate) fn run(arguments: Arguments, console: &Console) -> Result<Exit> {
    let Arguments {
        place,
        output,
        trust,
        plain_http,
    } = arguments;
    let trust = trust.read()?;
    let registry = Registry::new(&place, plain_http)?;
    let folder = match output.as_deref().and_then(Path::parent) {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    };
    let mut temporary = tempfile::Builder::new()
        .permissions(Permissions::from_mode(0o644))
        .tempfile_in(&folder)
        .with_context(|| format!("cannot write into {}", folder.display()))?;
    let progress = Progress::new(1, console.is_json());
    progress.set_message(&format!("pulling {}", registry.name()));
    let digest = registry.pull(temporary.as_file_mut())?;
    drop(progress);
    temporary.as_file_mut().rewind()?;
    let reader = BufReader::new(temporary.as_file_mut());
    let contents = UncheckedBundle::open(reader, BundleLimits::default())
        .and_then(|unchecked| unchecked.trust(&trust, now_unix()))
        .and_then(|trusted| trusted.read(&[]))
        .with_context(|| registry.name())?;
    temporary.as_file().sync_all()?;
    let manifest = contents.manifest;
    let output = output
        .unwrap_or_else(|| format!("{}-{}.cwasm.tar", manifest.name, manifest.version).into());
    temporary
        .persist(&output)
        .with_context(|| format!("cannot write {}", output.display()))?;
    console.print(&PullReport {
        place: registry.name(),
        digest,
        bundle: output,
        name: manifest.name,
        version: manifest.version,
        sequence: manifest.sequence,
        signed_by: contents.key,
    })?;
    Ok(Exit::Done)
}

#[derive(Serialize)]
struct PullReport {
    place: String,
    digest: String,
    bundle: PathBuf,
    name: String,
    version: String,
    sequence: u64,
    signed_by: KeyId,
}

impl Report for PullReport {
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
        writeln!(out, "  from    {}", self.place)?;
        writeln!(out, "  digest  {}", self.digest)
    }
}
