//! `ferrite-wasmc doctor`: whether this machine has what is needed.

mod guests;
mod machine;

use std::io::{self, Write};

use anyhow::Result;
use serde::Serialize;

use crate::files::cache_folder::CacheFolder;
use crate::terminal::console::{Console, Exit, Report};

/// What was typed after `doctor`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    cache: CacheFolder,
}

/// Makes every check; the command fails if one fails that compiling depends on.
pub(crate) fn run(arguments: Arguments, console: &Console) -> Result<Exit> {
    let Arguments { cache } = arguments;
    let mut checks = vec![
        machine::cache(&cache),
        machine::cpu(),
        machine::compiler(),
        machine::worker(),
    ];
    checks.extend(guests::all());
    let failed = checks
        .iter()
        .any(|check| matches!(check.finding, Finding::Failed { .. }));
    console.print(&DoctorReport { checks })?;
    Ok(if failed { Exit::Failed } else { Exit::Done })
}

/// One thing that was looked at.
#[derive(Serialize)]
struct Check {
    name: &'static str,
    #[serde(flatten)]
    finding: Finding,
}

/// What was found.
#[derive(Serialize)]
#[serde(tag = "finding", rename_all = "lowercase")]
enum Finding {
    /// It is as it should be.
    Ok { detail: String },
    /// It is not there, and only some need it.
    Missing { remedy: String },
    /// It is broken.
    Failed { detail: String },
}

#[derive(Serialize)]
struct DoctorReport {
    checks: Vec<Check>,
}

impl Report for DoctorReport {
    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        for Check { name, finding } in &self.checks {
            let (word, detail) = match finding {
                Finding::Ok { detail } => ("ok", detail),
                Finding::Missing { remedy } => ("missing", remedy),
                Finding::Failed { detail } => ("failed", detail),
            };
            writeln!(out, "{word:<7}  {name:<16}  {detail}")?;
        }
        Ok(())
    }
}
