//! Writes the log of the runtime and of functions into the server's log.

use std::ffi::CStr;
use std::fmt::{Debug, Write as _};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

use crate::api::context::log;

/// Writes events into the server's log. Events below `INFO` are not created.
struct ServerLog;

/// Sends all events of this process to the server's log, unless they are sent elsewhere already.
pub(crate) fn start() {
    // It is taken if the module was loaded twice; the first one does the same.
    let _ = tracing::subscriber::set_global_default(ServerLog);
}

impl Subscriber for ServerLog {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::INFO
    }

    fn max_level_hint(&self) -> Option<tracing::level_filters::LevelFilter> {
        Some(tracing::level_filters::LevelFilter::INFO)
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let level: &CStr = match *event.metadata().level() {
            Level::ERROR | Level::WARN => c"warning",
            _ => c"notice",
        };
        let mut line = Line("ferrite:".to_owned());
        event.record(&mut line);
        log(level, &line.0);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// A line of text: the message, then the fields.
struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        // Writing to a String cannot fail.
        let _ = if field.name() == "message" {
            write!(self.0, " {value:?}")
        } else {
            write!(self.0, " {}={value:?}", field.name())
        };
    }
}
