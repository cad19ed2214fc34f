//! Sets up the log: on standard error, as text or as JSON.

use std::sync::OnceLock;
use std::{fmt, io};

use ferrite_protocol::one_line::OneLine;
use tracing_subscriber::Layer;
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::filter::{ParseError, Targets};
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::{DefaultFields, Writer};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Registry, reload};

use crate::config::{LogFormat, Server};

/// Reason why the log cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter is invalid.
    #[error("server.log {filter:?} is neither a level nor a filter")]
    Filter {
        /// The filter as typed.
        filter: String,
        /// The reason.
        #[source]
        source: ParseError,
    },
    /// The process has a log already.
    #[error("the log is set up already")]
    Taken,
}

/// Starts the log of the whole process, with the configured filter and format.
///
/// # Errors
///
/// If the filter is invalid, or the process has a log already.
pub fn start(server: &Server) -> Result<(), LogError> {
    let (filter, handle) = reload::Layer::new(filter(&server.log)?);
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(false);
    let lines = match server.log_format {
        LogFormat::Text => lines.fmt_fields(OneLineFields).boxed(),
        LogFormat::Json => lines.json().boxed(),
    };
    let started = Registry::default().with(filter).with(lines).try_init();
    started.map_err(|_| LogError::Taken)?;
    // Only the first start gets here.
    let _ = FILTER.set(handle);
    Ok(())
}

/// Writes message and fields on one line, whatever they hold: a part of them comes from clients, from
/// guests and from files. The JSON format escapes by itself.
struct OneLineFields;

impl<'w> FormatFields<'w> for OneLineFields {
    fn format_fields<R: RecordFields>(&self, mut writer: Writer<'w>, fields: R) -> fmt::Result {
        let mut text = String::new();
        DefaultFields::new().format_fields(Writer::new(&mut text), fields)?;
        write!(writer, "{}", OneLine(&text))
    }
}

/// The filter of the log, once it is started.
static FILTER: OnceLock<reload::Handle<Targets, Registry>> = OnceLock::new();

/// Changes the filter of the log. Does nothing if [`start`] did not set up the log.
///
/// # Errors
///
/// If the filter is invalid.
pub fn set_filter(log: &str) -> Result<(), LogError> {
    let filter = filter(log)?;
    if let Some(handle) = FILTER.get() {
        // It fails only if the log is gone, which lives as long as the process.
        let _ = handle.reload(filter);
    }
    Ok(())
}

/// Checks a filter of the log.
///
/// # Errors
///
/// If the filter is invalid.
pub fn check_filter(log: &str) -> Result<(), LogError> {
    filter(log).map(drop)
}

fn filter(log: &str) -> Result<Targets, LogError> {
    directives(log).parse().map_err(|source| LogError::Filter {
        filter: log.to_owned(),
        source,
    })
}

/// Returns the filter for `log`. A single level applies to the project's crates, whose names begin with `ferrite`, as
/// the targets `ferrite::audit` and `ferrite::changes` do; libraries then log only warnings and errors.
fn directives(log: &str) -> String {
    match log.trim() {
        level @ ("info" | "debug" | "trace") => format!("warn,ferrite={level}"),
        other => other.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::{OneLineFields, directives};

    /// A log in memory.
    #[derive(Clone, Default)]
    struct Memory(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Memory {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("no test panicked").write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn nothing_that_is_logged_begins_a_line() {
        let memory = Memory::default();
        let writer = memory.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .without_time()
            .fmt_fields(OneLineFields)
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            let text = "a\nb\u{9b}";
            tracing::info!(field = %text, "{text}");
        });
        let log = memory.0.lock().expect("no test panicked").clone();
        let log = String::from_utf8(log).expect("it is UTF-8");
        assert_eq!(log.lines().count(), 1, "{log}");
        assert!(log.contains("a\\nb\\u{9b} field=a\\nb\\u{9b}"), "{log}");
    }

    #[test]
    fn a_level_is_for_ourselves() {
        assert_eq!(directives("debug"), "warn,ferrite=debug");
        assert_eq!(directives("error"), "error");
        assert_eq!(directives("info,fjall=trace"), "info,fjall=trace");
    }
}
