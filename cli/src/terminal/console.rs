//! How results reach whoever asked: text or JSON on standard output, errors, exit codes.

use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

use ferrite_cache::bundle::{BundleError, TrustError};
use serde::Serialize;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// It did what it was asked to.
    Done,
    /// It could not.
    Failed,
    /// What was typed makes no sense together; clap reports what makes none by itself.
    Misused,
    /// A rule forbids it.
    Refused,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Misused => 2,
            Exit::Refused => 3,
        })
    }
}

impl Exit {
    /// How a command ended that returned this error.
    ///
    /// Whoever closed standard output has seen enough, which is no failure.
    pub(crate) fn of(error: &anyhow::Error) -> Self {
        if is_closed_pipe(error) {
            Self::Done
        } else if error.is::<UsageError>() {
            Self::Misused
        } else if is_refused_bundle(error) {
            Self::Refused
        } else {
            Self::Failed
        }
    }
}

/// Whether a bundle is refused for what it is, and not because it could not be read.
fn is_refused_bundle(error: &anyhow::Error) -> bool {
    match error.downcast_ref::<BundleError>() {
        Some(error) => !matches!(error, BundleError::Read(_)),
        None => error.is::<TrustError>(),
    }
}

fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<OutputError>()
        .is_some_and(|OutputError(error)| error.kind() == ErrorKind::BrokenPipe)
}

/// What was typed makes no sense together.
#[derive(Debug)]
pub(crate) struct UsageError(pub(crate) String);

impl std::fmt::Display for UsageError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UsageError {}

/// Standard output did not take what was written.
#[derive(Debug)]
struct OutputError(io::Error);

impl std::fmt::Display for OutputError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("cannot write to standard output")
    }
}

impl std::error::Error for OutputError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

/// What a command has to say at its end.
pub(crate) trait Report: Serialize {
    /// Writes it for people. The JSON is what [`Serialize`] makes of it.
    fn text(&self, out: &mut dyn Write) -> io::Result<()>;
}

/// The way out.
pub(crate) struct Console {
    json: bool,
}

/// An error as JSON.
#[derive(Serialize)]
struct ErrorReport<'a> {
    error: &'a str,
}

impl Console {
    pub(crate) fn new(json: bool) -> Self {
        Self { json }
    }

    /// Whether the result is one JSON document, and text must not come between.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// Prints a report in the form that was asked for.
    pub(crate) fn print(&self, report: &impl Report) -> anyhow::Result<()> {
        if self.json {
            self.print_json(report)
        } else {
            self.print_text(|out| report.text(out))
        }
    }

    /// Prints text, which the caller has made sure is wanted.
    pub(crate) fn print_text(
        &self,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> anyhow::Result<()> {
        let mut out = io::stdout().lock();
        write(&mut out)
            .and_then(|()| out.flush())
            .map_err(|error| OutputError(error).into())
    }

    fn print_json(&self, value: &impl Serialize) -> anyhow::Result<()> {
        let text = serde_json::to_string_pretty(value)?;
        self.print_text(|out| writeln!(out, "{text}"))
    }

    /// Reports an error with its causes: on standard error, or as the JSON document.
    pub(crate) fn error(&self, error: &anyhow::Error) {
        if is_closed_pipe(error) {
            return;
        }
        let text = format!("{error:#}");
        // There is nowhere left to say that even this could not be said.
        let _ = if self.json {
            self.print_json(&ErrorReport { error: &text })
        } else {
            self.warn(&format!("error: {text}"))
        };
    }

    /// Prints a line on standard error.
    pub(crate) fn warn(&self, line: &str) -> anyhow::Result<()> {
        // In one write, as others may write to the same terminal.
        Ok(io::stderr().write_all(format!("{line}\n").as_bytes())?)
    }
}
