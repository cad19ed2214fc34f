//! `ferrite-wasmc targets`: lists the platforms to compile for.

use std::io::{self, Write};

use anyhow::Result;
use ferrite_cache::{Baseline, Fingerprint, Target};
use serde::Serialize;

use crate::terminal::console::{Console, Exit, Report};

/// The arguments of `ferrite-wasmc targets`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {}

/// Lists targets and baselines.
pub(crate) fn run(Arguments {}: Arguments, console: &Console) -> Result<Exit> {
    let targets = ferrite_compiler::targets()?
        .into_iter()
        .map(|info| TargetReport {
            target: info.target,
            host: info.host,
            pointer_bits: info.pointer_bits,
            baselines: info
                .baselines
                .into_iter()
                .map(|info| BaselineReport {
                    baseline: info.baseline,
                    runs_here: info.runs_here,
                    profile: info.profile.fingerprint(),
                    cpu_features: info.profile.cpu_features().to_vec(),
                })
                .collect(),
        })
        .collect();
    console.print(&TargetsReport { targets })?;
    Ok(Exit::Done)
}

#[derive(Serialize)]
struct TargetsReport {
    targets: Vec<TargetReport>,
}

#[derive(Serialize)]
struct TargetReport {
    target: Target,
    host: bool,
    pointer_bits: u8,
    baselines: Vec<BaselineReport>,
}

#[derive(Serialize)]
struct BaselineReport {
    baseline: Baseline,
    runs_here: bool,
    profile: Fingerprint,
    cpu_features: Vec<String>,
}

impl Report for TargetsReport {
    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        for target in &self.targets {
            let here = if target.host { "  (this machine)" } else { "" };
            writeln!(out, "{}{here}", target.target)?;
            for baseline in &target.baselines {
                let runs = if baseline.runs_here {
                    "runs here"
                } else {
                    "not here"
                };
                writeln!(
                    out,
                    "  {:<10}  {runs:<9}  profile {}  {}",
                    baseline.baseline,
                    baseline.profile,
                    words(&baseline.cpu_features)
                )?;
            }
        }
        Ok(())
    }
}

/// Joins the names of CPU features, without Cranelift's prefix `has_`.
fn words(features: &[String]) -> String {
    if features.is_empty() {
        return "no CPU extensions".to_owned();
    }
    let words: Vec<&str> = features
        .iter()
        .map(|feature| feature.strip_prefix("has_").unwrap_or(feature))
        .collect();
    words.join(" ")
}
