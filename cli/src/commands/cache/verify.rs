//! `ferrite-wasmc cache verify`: checks that every stored byte is as published.

use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::Result;
use ferrite_cache::{Digest, Fingerprint};
use serde::Serialize;

use crate::files::cache_folder::CacheFolder;
use crate::terminal::console::{Console, Exit, Report};

/// Checks every entry and moves damaged ones away. The command fails if there were any.
pub(super) fn run(cache: &CacheFolder, console: &Console) -> Result<Exit> {
    let (verdicts, missing) = match cache.open_existing()? {
        Some(cache) => (cache.verify()?, None),
        None => (Vec::new(), Some(cache.path.clone())),
    };
    let checked = verdicts.len();
    let damaged: Vec<DamageReport> = verdicts
        .into_iter()
        .filter_map(|verdict| {
            Some(DamageReport {
                source: verdict.source,
                profile: verdict.profile,
                damage: verdict.damage?,
            })
        })
        .collect();
    let exit = if damaged.is_empty() {
        Exit::Done
    } else {
        Exit::Failed
    };
    console.print(&VerifyReport {
        checked,
        damaged,
        missing,
    })?;
    Ok(exit)
}

#[derive(Serialize)]
struct VerifyReport {
    /// Number of sources and artifacts that were checked.
    checked: usize,
    damaged: Vec<DamageReport>,
    /// The cache's folder, if there is none yet.
    #[serde(skip)]
    missing: Option<PathBuf>,
}

#[derive(Serialize)]
struct DamageReport {
    source: Digest,
    /// None if the source itself is damaged.
    profile: Option<Fingerprint>,
    damage: String,
}

impl Report for VerifyReport {
    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        if let Some(folder) = &self.missing {
            return writeln!(out, "there is no cache in {} yet", folder.display());
        }
        for damaged in &self.damaged {
            let what = damaged.profile.map_or_else(
                || "the source".to_owned(),
                |profile| format!("the artifact for profile {profile}"),
            );
            writeln!(out, "{}: {what}: {}", damaged.source, damaged.damage)?;
        }
        let intact = self.checked - self.damaged.len();
        write!(out, "{intact} of {} are intact", self.checked)?;
        if self.damaged.is_empty() {
            writeln!(out)
        } else {
            writeln!(
                out,
                "; the damaged ones were moved away and are compiled again when needed"
            )
        }
    }
}
