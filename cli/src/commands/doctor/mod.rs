//! `ferrite-wasmc doctor`: checks this machine for everything that is needed.

mod guests;
mod machine;

use std::io::{self, Write};

use anyhow::Result;
use serde::Serialize;

use crate::files::cache_folder::CacheFolder;
use crate::terminal::console::{Console, Exit, Report};

/// The arguments of `ferrite-wasmc doctor`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    cache: CacheFolder,
}

/// Makes all checks. The command fails if one fails that compiling depends on; missing toolchains
/// are no failure.
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

/// One check.
#[derive(Serialize)]
struct Check {
    name: &'static str,
    #[serde(flatten)]
    finding: Finding,
}

/// The result of a check.
#[derive(Serialize)]
#[serde(tag = "finding", rename_all = "lowercase")]
enum Finding {
    /// Works.
    Ok { detail: String },
    /// Not installed, and needed for one language only.
    Missing { remedy: String },
    /// Does not work.
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
