//! `ferrite-wasmc cache import`: fills a cache from a signed bundle, ahead of a roll-out.

use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::{Context, Result};
use ferrite_cache::bundle::{BundleContents, KeyId};
use ferrite_cache::{Digest, Fingerprint, Profile};
use serde::Serialize;

use crate::clock::now_unix;
use crate::files::bundle_file;
use crate::files::cache_folder::CacheFolder;
use crate::keys::TrustArguments;
use crate::platform::Platform;
use crate::terminal::console::{Console, Exit, Report};
use crate::terminal::units::Bytes;

/// The arguments of `ferrite-wasmc cache import`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Signed bundle
    bundle: PathBuf,

    #[command(flatten)]
    trust: TrustArguments,

    #[command(flatten)]
    cache: CacheFolder,
}

/// Checks the whole bundle, then stores its source and the code that this release can load.
pub(super) fn run(arguments: &Arguments, console: &Console) -> Result<Exit> {
    let Arguments {
        bundle,
        trust,
        cache,
    } = arguments;
    let trust = trust.read()?;
    let name = || bundle.display().to_string();
    let unchecked = bundle_file::open(bundle)?;
    let trusted = unchecked.trust(&trust, now_unix()).with_context(name)?;
    let wanted: Vec<Fingerprint> = trusted
        .manifest()
        .artifacts
        .iter()
        .filter(|artifact| artifact.profile.check().is_ok())
        .map(|artifact| artifact.profile.fingerprint())
        .collect();
    let signed = trusted.signed_manifest().clone();
    let BundleContents {
        manifest,
        key,
        source,
        artifacts,
    } = trusted.read(&wanted).with_context(name)?;
    let cache = cache.open()?;
    let digest = cache.put_source(&source)?;
    cache.put_release(&digest, &signed)?;
    let mut imported = Vec::new();
    for (entry, code) in &artifacts {
        // Code of this source that is in the cache stays if the same key signed it.
        let mut kept = cache.publish(entry, code)?;
        if kept.manifest().signed_by != entry.signed_by {
            cache.withdraw(&digest, &entry.profile)?;
            kept = cache.publish(entry, code)?;
        }
        imported.push(Imported {
            platform: Platform::of(&entry.profile),
            profile: entry.profile.fingerprint(),
            bytes: entry.artifact_len,
            stored: kept.manifest() == entry,
        });
    }
    imported.sort_by_key(|one| one.platform);
    let here: Vec<Fingerprint> = Profile::candidates()
        .into_iter()
        .flat_map(|profile| [profile.clone(), profile.with_stack_depth(true)])
        .map(|profile| profile.fingerprint())
        .collect();
    console.print(&ImportReport {
        name: manifest.name,
        version: manifest.version,
        source: digest,
        signed_by: key,
        skipped: manifest.artifacts.len() - imported.len(),
        runs_here: imported.iter().any(|one| here.contains(&one.profile)),
        artifacts: imported,
        cache: cache.root().to_owned(),
    })?;
    Ok(Exit::Done)
}

#[derive(Serialize)]
struct ImportReport {
    cache: PathBuf,
    name: String,
    version: String,
    source: Digest,
    signed_by: KeyId,
    artifacts: Vec<Imported>,
    /// Number of artifacts that this release cannot load, because another release compiled them.
    skipped: usize,
    /// True if a server on this machine finds native code and need not compile.
    runs_here: bool,
}

#[derive(Serialize)]
struct Imported {
    #[serde(flatten)]
    platform: Platform,
    profile: Fingerprint,
    bytes: u64,
    /// True if the cache holds the bundle's code now; false if code from another bundle stays.
    stored: bool,
}

impl Report for ImportReport {
    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(
            out,
            "{} {}, signed by key {}, into {}",
            self.name,
            self.version,
            self.signed_by,
            self.cache.display()
        )?;
        writeln!(out, "  source    {}", self.source)?;
        for artifact in &self.artifacts {
            let note = if artifact.stored {
                ""
            } else {
                "  (there already, from another bundle)"
            };
            writeln!(
                out,
                "  artifact  for {}  {}{note}",
                artifact.platform,
                Bytes(artifact.bytes)
            )?;
        }
        if self.skipped > 0 {
            writeln!(
                out,
                "  skipped   {} artifacts that another release compiled",
                self.skipped
            )?;
        }
        if !self.runs_here {
            writeln!(
                out,
                "  note      none of it is for this machine, which would compile the source"
            )?;
        }
        Ok(())
    }
}
