//! Prints the log lines of functions to standard error.

use std::fmt;
use std::io::IsTerminal;

use ferrite_protocol::one_line::OneLine;
use tracing::Level;
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::{DefaultFields, Writer};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Prints every line that the guest logs, and the runtime's warnings. With `quiet`, prints only
/// warnings of both; `--json` sets it.
pub(super) fn start(quiet: bool) {
    let guest = if quiet { Level::WARN } else { Level::TRACE };
    let targets = Targets::new()
        .with_default(Level::WARN)
        .with_target("ferrite::guest", guest);
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .without_time()
        .with_target(false)
        .fmt_fields(OneLineFields)
        .compact();
    // Fails only if a log is set up already; then that one is used.
    let _ = tracing_subscriber::registry()
        .with(lines)
        .with(targets)
        .try_init();
}

/// Writes message and fields on one line, whatever they hold.
struct OneLineFields;

impl<'w> FormatFields<'w> for OneLineFields {
    fn format_fields<R: RecordFields>(&self, mut writer: Writer<'w>, fields: R) -> fmt::Result {
        let mut text = String::new();
        DefaultFields::new().format_fields(Writer::new(&mut text), fields)?;
        write!(writer, "{}", OneLine(&text))
    }
}
