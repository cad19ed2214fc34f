//! Sets up the log: on standard error, as text or as JSON.

use std::io;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

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
    let filter =
        EnvFilter::try_new(directives(&server.log)).map_err(|source| LogError::Filter {
            filter: server.log.clone(),
            source,
        })?;
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(false);
    let started = match server.log_format {
        LogFormat::Text => subscriber.try_init(),
        LogFormat::Json => subscriber.json().try_init(),
    };
    started.map_err(|_| LogError::Taken)
}

/// The project's crates, and the target `ferrite::audit`.
const OWN: [&str; 5] = [
    "ferrite",
    "ferrite_cache",
    "ferrite_runtime",
    "ferrite_server",
    "ferrite_store",
];

/// Returns the filter for `log`. A single level applies to the project's crates; libraries then log
/// only warnings and errors.
fn directives(log: &str) -> String {
    match log.trim() {
        level @ ("info" | "debug" | "trace") => {
            OWN.iter().fold("warn".to_owned(), |text, target| {
                format!("{text},{target}={level}")
            })
        }
        other => other.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::directives;

    #[test]
    fn a_level_is_for_ourselves() {
        assert!(directives("debug").starts_with("warn,ferrite=debug,"));
        assert_eq!(directives("error"), "error");
        assert_eq!(directives("info,fjall=trace"), "info,fjall=trace");
    }
}
