//! The report of `compile` for each file.

use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::Result;
use ferrite_cache::{Digest, Fingerprint};
use serde::Serialize;

use crate::platform::Platform;
use crate::terminal::console::{Console, Exit, Report};
use crate::terminal::units::{Bytes, Micros};

/// The reports of all files, in the order of the command line.
#[derive(Serialize)]
pub(crate) struct CompileReport {
    pub(crate) files: Vec<FileReport>,
}

/// The report of one file.
#[derive(Serialize)]
pub(crate) struct FileReport {
    pub(crate) file: PathBuf,
    #[serde(flatten)]
    pub(crate) outcome: Outcome,
}

/// The outcome for one file.
#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Outcome {
    Done(Box<Done>),
    Error(Failure),
}

/// A module that was compiled, or found in the cache.
#[derive(Serialize)]
pub(crate) struct Done {
    pub(crate) source: Digest,
    pub(crate) source_bytes: u64,
    /// Path of the artifact in the cache; none if the cache could not be used.
    pub(crate) artifact: Option<PathBuf>,
    pub(crate) artifact_digest: Digest,
    pub(crate) artifact_bytes: u64,
    pub(crate) output: Option<PathBuf>,
    #[serde(flatten)]
    pub(crate) platform: Platform,
    pub(crate) profile: Fingerprint,
    /// True if the cache held the code before.
    pub(crate) cached: bool,
    /// True if the module's start was run at compile time, so that no instance runs it.
    pub(crate) preinitialised: bool,
    /// Time taken in microseconds, including reading and storing.
    pub(crate) micros: u64,
}

/// Reason why a file was not compiled.
#[derive(Serialize)]
pub(crate) struct Failure {
    /// `INVALID`, `LIMIT` or `INTERNAL` for errors in the module; none for other errors.
    pub(crate) code: Option<&'static str>,
    pub(crate) message: String,
    pub(crate) offset: Option<u64>,
}

impl CompileReport {
    /// The command fails if any file failed.
    pub(crate) fn exit(&self) -> Exit {
        let failed = |file: &FileReport| matches!(file.outcome, Outcome::Error(_));
        if self.files.iter().any(failed) {
            Exit::Failed
        } else {
            Exit::Done
        }
    }
}

impl FileReport {
    /// Prints the outcome: results on standard output, failures on standard error.
    pub(crate) fn print(&self, console: &Console) -> Result<()> {
        match &self.outcome {
            Outcome::Done(done) => console.print_text(|out| {
                writeln!(out, "{}", self.file.display())?;
                done.text(out)
            }),
            Outcome::Error(failure) => {
                let code = failure.code.map(|code| format!("{code}: "));
                console.warn(&format!(
                    "error: {}: {}{}",
                    self.file.display(),
                    code.unwrap_or_default(),
                    failure.message
                ))
            }
        }
    }
}

impl Report for CompileReport {
    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        for file in &self.files {
            if let Outcome::Done(done) = &file.outcome {
                writeln!(out, "{}", file.file.display())?;
                done.text(out)?;
            }
        }
        Ok(())
    }
}

impl Done {
    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        let Self {
            source,
            source_bytes,
            artifact,
            artifact_digest: _,
            artifact_bytes,
            output,
            platform,
            profile: _,
            cached,
            preinitialised,
            micros,
        } = self;
        writeln!(out, "  source    {source}  {}", Bytes(*source_bytes))?;
        if let Some(path) = artifact {
            let size = Bytes(*artifact_bytes);
            writeln!(out, "  artifact  {}  {size}", path.display())?;
        }
        if let Some(path) = output {
            let size = Bytes(*artifact_bytes);
            writeln!(out, "  written   {}  {size}", path.display())?;
        }
        if *preinitialised {
            writeln!(
                out,
                "  start     has run already, so that no instance runs it"
            )?;
        }
        let took = Micros(*micros);
        if *cached {
            writeln!(out, "  cached    found in {took}, for {platform}")
        } else {
            writeln!(out, "  compiled  in {took}, for {platform}")
        }
    }
}
