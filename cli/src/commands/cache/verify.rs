//! `ferrite-wasmc cache verify`: whether every stored byte is what was published.

use std::io::{self, Write};

use anyhow::Result;
use ferrite_cache::{Digest, Fingerprint};
use serde::Serialize;

use crate::files::cache_folder::CacheFolder;
use crate::terminal::console::{Console, Exit, Report};

/// Checks everything; damage makes the command fail, although it is mended by moving it away.
pub(super) fn run(cache: &CacheFolder, console: &Console) -> Result<Exit> {
    let verdicts = match cache.open_existing()? {
        Some(cache) => cache.verify()?,
        None => Vec::new(),
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
    console.print(&VerifyReport { checked, damaged })?;
    Ok(exit)
}

#[derive(Serialize)]
struct VerifyReport {
    /// Sources and artifacts that were looked at.
    checked: usize,
    damaged: Vec<DamageReport>,
}

#[derive(Serialize)]
struct DamageReport {
    source: Digest,
    /// None for the source itself.
    profile: Option<Fingerprint>,
    damage: String,
}

impl Report for VerifyReport {
    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
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
                "; the rest was moved away and will be compiled again when it is needed"
            )
        }
    }
}
