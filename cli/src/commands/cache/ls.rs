//! `ferrite-wasmc cache ls`: the contents of the cache.

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;
use ferrite_cache::bundle::UtcTime;
use ferrite_cache::{Baseline, Digest, Fingerprint, Manifest, ModuleInfo, Target};
use serde::Serialize;

use crate::files::cache_folder::CacheFolder;
use crate::platform::Platform;
use crate::terminal::console::{Console, Exit, Report};
use crate::terminal::units::Bytes;

/// Lists every source with its artifacts.
pub(super) fn run(cache: &CacheFolder, console: &Console) -> Result<Exit> {
    let (entries, missing) = match cache.open_existing()? {
        Some(cache) => (cache.list()?, None),
        None => (Vec::new(), Some(cache.path.clone())),
    };
    let modules = entries
        .into_iter()
        .map(|mut entry| {
            // Sorted by platform; those whose manifest cannot be read come first.
            entry.artifacts.sort_by_key(|artifact| {
                let profile = artifact.manifest.as_ref().map(|manifest| &manifest.profile);
                (profile.map(Platform::of), artifact.profile)
            });
            entry
        })
        .map(|entry| ModuleReport {
            source: entry.source,
            bytes: entry.source_len,
            name: entry
                .artifacts
                .iter()
                .find_map(|artifact| shown_name(&artifact.manifest.as_ref()?.module)),
            last_used: unix_seconds(entry.last_used),
            artifacts: entry
                .artifacts
                .into_iter()
                .map(|artifact| ArtifactReport {
                    engine: artifact
                        .manifest
                        .as_ref()
                        .and_then(|manifest| manifest.image.as_ref().map(|_| manifest.artifact)),
                    profile: artifact.profile,
                    target: of(&artifact.manifest, |manifest| manifest.profile.target()),
                    baseline: of(&artifact.manifest, |manifest| manifest.profile.baseline()),
                    stack_depth: of(&artifact.manifest, |manifest| {
                        manifest.profile.counts_stack_depth()
                    }),
                    current: artifact
                        .manifest
                        .is_some_and(|manifest| manifest.profile.check().is_ok()),
                    bytes: artifact.len,
                })
                .collect(),
        })
        .collect();
    console.print(&ListReport { modules, missing })?;
    Ok(Exit::Done)
}

/// Returns the module's own name, or those of its first entries.
fn shown_name(module: &ModuleInfo) -> Option<String> {
    /// More are not shown.
    const ENTRIES_MAX: usize = 3;
    if module.name.is_some() {
        return module.name.clone();
    }
    let entries = module.entries.iter().take(ENTRIES_MAX);
    let names: Vec<&str> = entries.map(|entry| entry.name.as_str()).collect();
    (!names.is_empty()).then(|| names.join(", "))
}

fn of<T>(manifest: &Option<Manifest>, read: impl FnOnce(&Manifest) -> T) -> Option<T> {
    manifest.as_ref().map(read)
}

/// Returns the seconds since 1970; 0 for times before.
fn unix_seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

#[derive(Serialize)]
struct ListReport {
    modules: Vec<ModuleReport>,
    /// The cache's folder, if there is none yet.
    #[serde(skip)]
    missing: Option<PathBuf>,
}

#[derive(Serialize)]
struct ModuleReport {
    source: Digest,
    /// None if the cache holds only artifacts of the module.
    bytes: Option<u64>,
    name: Option<String>,
    /// Seconds since 1970, to the hour.
    last_used: u64,
    artifacts: Vec<ArtifactReport>,
}

#[derive(Serialize)]
struct ArtifactReport {
    profile: Fingerprint,
    /// None if the manifest cannot be read.
    target: Option<Target>,
    baseline: Option<Baseline>,
    /// True if the code counts the depth of nested calls.
    stack_depth: Option<bool>,
    /// True if this release can load the artifact.
    current: bool,
    /// Bytes of the native code; of the image alone, if there is an engine.
    bytes: u64,
    /// Digest of the native code, if others may share it.
    #[serde(skip_serializing_if = "Option::is_none")]
    engine: Option<Digest>,
}

impl Report for ListReport {
    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        if let Some(folder) = &self.missing {
            return writeln!(out, "there is no cache in {} yet", folder.display());
        }
        if self.modules.is_empty() {
            return writeln!(out, "the cache is empty");
        }
        for module in &self.modules {
            let size = module.bytes.map_or_else(
                || "source is missing".to_owned(),
                |len| Bytes(len).to_string(),
            );
            let name = module
                .name
                .as_ref()
                .map(|name| format!("  {}", name.escape_debug()));
            let used = UtcTime(module.last_used).day();
            writeln!(
                out,
                "{}  {size}  used {used}{}",
                module.source,
                name.unwrap_or_default()
            )?;
            for artifact in &module.artifacts {
                let platform = match (artifact.target, artifact.baseline, artifact.stack_depth) {
                    (Some(target), Some(baseline), Some(stack_depth)) => Platform {
                        target,
                        baseline,
                        stack_depth,
                    }
                    .to_string(),
                    _ => "manifest cannot be read".to_owned(),
                };
                let old = if artifact.current {
                    ""
                } else {
                    "  of another release"
                };
                let engine = artifact.engine.as_ref().map(|engine| {
                    // Enough to see which are the same.
                    let hex = engine.hex();
                    format!("  on engine {}", &hex[..16])
                });
                writeln!(
                    out,
                    "  {}  {platform}  {}{}{old}",
                    artifact.profile,
                    Bytes(artifact.bytes),
                    engine.unwrap_or_default()
                )?;
            }
        }
        Ok(())
    }
}
