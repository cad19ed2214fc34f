//! Output of commands: text or JSON on standard output, errors on standard error, exit codes.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

use ferrite_cache::bundle::{BundleError, TrustError};
use ferrite_protocol::one_line::{Json, Lines};
use serde::Serialize;

use super::color;

/// End of a command; decides the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// The command did what it was asked to. Exit code 0.
    Done,
    /// The command failed. Exit code 1.
    Failed,
    /// Wrong usage that clap does not find, such as options that exclude each other. Exit code 2.
    Misused,
    /// A policy or a permission forbids it. Exit code 3.
    Refused,
    /// The thing to fetch is not there. Exit code 4.
    Missing,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Misused => 2,
            Exit::Refused => 3,
            Exit::Missing => 4,
        })
    }
}

impl Exit {
    /// Returns the outcome of a command that returned this error.
    ///
    /// A closed standard output is no failure: the reader has seen enough.
    pub(crate) fn of(error: &anyhow::Error) -> Self {
        if is_closed_pipe(error) {
            Self::Done
        } else if error.is::<UsageError>() {
            Self::Misused
        } else if is_refused_bundle(error) {
            Self::Refused
        } else if error.is::<MissingError>() {
            Self::Missing
        } else {
            Self::Failed
        }
    }
}

/// Returns true if a bundle is refused for its contents; false if it could not be read.
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

/// Error: wrong usage that clap does not find.
#[derive(Debug)]
pub(crate) struct UsageError(pub(crate) String);

impl Display for UsageError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UsageError {}

/// Error: a name or a tag that its registry does not know.
#[derive(Debug)]
pub(crate) struct MissingError(pub(crate) String);

impl Display for MissingError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for MissingError {}

/// Error: writing to standard output failed.
#[derive(Debug)]
struct OutputError(io::Error);

impl Display for OutputError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("cannot write to standard output")
    }
}

impl std::error::Error for OutputError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

/// The result of a command.
pub(crate) trait Report: Serialize {
    /// Writes the result as text for people. As JSON it is written by [`Serialize`].
    fn text(&self, out: &mut dyn Write) -> io::Result<()>;
}

/// Output of a command: its result, its errors and its warnings.
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

    /// Returns true if the command prints one JSON document, and no text beside it.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// Prints a report, as JSON with `--json`, else as text.
    pub(crate) fn print(&self, report: &impl Report) -> anyhow::Result<()> {
        if self.json {
            self.print_json(report)
        } else {
            self.print_text(|out| report.text(out))
        }
    }

    /// Prints text, in which nothing steers the terminal: a part of it comes from guests and files.
    /// The caller has checked that [`is_json`](Self::is_json) is false.
    pub(crate) fn print_text(
        &self,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> anyhow::Result<()> {
        let mut text = Vec::new();
        write(&mut text).map_err(OutputError)?;
        let text = Lines(&String::from_utf8_lossy(&text)).to_string();
        if color::wanted(&io::stdout()) {
            print(&color::paint(&text))
        } else {
            print(&text)
        }
    }

    fn print_json(&self, value: &impl Serialize) -> anyhow::Result<()> {
        let text = serde_json::to_string_pretty(value)? + "\n";
        print(&Json(&text))
    }

    /// Reports an error with its causes: on standard error, or as the JSON document.
    pub(crate) fn error(&self, error: &anyhow::Error) {
        if is_closed_pipe(error) {
            return;
        }
        let text = format!("{error:#}");
        // If this fails too, there is nowhere left to report it.
        let _ = if self.json {
            self.print_json(&ErrorReport { error: &text })
        } else {
            self.warn(&format!("error: {text}"))
        };
    }

    /// Prints a line on standard error.
    pub(crate) fn warn(&self, line: &str) -> anyhow::Result<()> {
        let mut line = format!("{}\n", Lines(line));
        if color::wanted(&io::stderr()) {
            line = color::paint(&line);
        }
        // In one write, because other processes may write to the same terminal.
        Ok(io::stderr().write_all(line.as_bytes())?)
    }
}

/// Prints a text on standard output.
fn print(text: &impl Display) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.to_string().as_bytes())
        .and_then(|()| out.flush())
        .map_err(|error| OutputError(error).into())
}
