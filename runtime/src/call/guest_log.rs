//! The log lines of a guest: by `log`, and by its standard output and error.

use ferrite_protocol::one_line::OneLine;
use tracing::Level;

/// Log target of all lines of guests, for filters.
pub(crate) const TARGET: &str = "ferrite::guest";

/// Longest line of standard output or error, in bytes; a longer one is split.
const LINE_BYTES_MAX: usize = 4096;

/// Longest part of the last error line that a trap's error repeats, in bytes.
const LAST_ERROR_BYTES_MAX: usize = 1024;

/// One call's log, bounded in bytes.
#[derive(Debug, Default)]
pub(crate) struct GuestLog {
    left_bytes: u64,
    cut: bool,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    last_error: String,
    /// True if lines are written at once, false if at the end of the call.
    at_once: bool,
    /// Lines that are not written yet: a try that is run again on a stack of its own leaves no trace.
    lines: Vec<(Level, String)>,
}

/// One of the two streams that a guest may write to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GuestStream {
    /// Standard output: each line is logged at level info.
    Out,
    /// Standard error: each line is logged as a warning.
    Err,
}

impl GuestLog {
    /// Prepares for a call that may log `bytes_max` bytes.
    pub(crate) fn begin(&mut self, bytes_max: u64) {
        self.left_bytes = bytes_max;
        self.cut = false;
        self.stdout.clear();
        self.stderr.clear();
        self.last_error.clear();
        self.lines.clear();
    }

    /// Chooses when lines are written: at once, or at the end of the call, so that
    /// [`GuestLog::begin`] can discard them.
    pub(crate) fn write_at_once(&mut self, at_once: bool) {
        self.at_once = at_once;
    }

    /// Returns the last line that the call logged as an error. Guests log the reason of a panic
    /// there.
    pub(crate) fn last_error(&self) -> Option<&str> {
        (!self.last_error.is_empty()).then_some(&self.last_error)
    }

    /// Writes one line for `function`. Cuts the log off for good at the call's limit.
    pub(crate) fn line(&mut self, function: &str, level: Level, text: &[u8]) {
        if self.cut {
            return;
        }
        let fits = usize::try_from(self.left_bytes).unwrap_or(usize::MAX);
        let shown = &text[..text.len().min(fits)];
        let empty = text.is_empty() && fits > 0;
        // The end of a line counts as well, so that empty lines have a limit.
        self.left_bytes = self.left_bytes.saturating_sub(shown.len() as u64 + 1);
        if !shown.is_empty() || empty {
            let shown = String::from_utf8_lossy(shown);
            if level == Level::ERROR {
                self.last_error.clear();
                self.remember(&shown);
            }
            if self.at_once {
                emit(function, level, &shown);
            } else {
                self.lines.push((level, shown.into_owned()));
            }
        }
        if shown.len() < text.len() || (text.is_empty() && !empty) {
            self.cut = true;
            if self.at_once {
                warn_of_rest(function);
            }
        }
    }

    /// Keeps the first line of a message for the error of a trap. What follows, such as a stack, is
    /// only for the log.
    fn remember(&mut self, message: &str) {
        let line = message.lines().next().unwrap_or_default();
        let end = line.floor_char_boundary(LAST_ERROR_BYTES_MAX);
        self.last_error.push_str(&line[..end]);
    }

    /// Writes to a stream; logs every line that this completes.
    pub(crate) fn write(&mut self, function: &str, stream: GuestStream, mut bytes: &[u8]) {
        while !bytes.is_empty() && !self.cut {
            let room = LINE_BYTES_MAX - self.pending(stream).len();
            let window = &bytes[..bytes.len().min(room)];
            let end = window.iter().position(|&byte| byte == b'\n');
            let taken = end.unwrap_or(window.len());
            self.pending(stream).extend_from_slice(&window[..taken]);
            if end.is_some() || taken == room {
                self.flush(function, stream);
            }
            bytes = &bytes[taken + usize::from(end.is_some())..];
        }
    }

    /// Writes the unfinished lines at the end of the call.
    pub(crate) fn end(&mut self, function: &str) {
        for stream in [GuestStream::Out, GuestStream::Err] {
            if !self.pending(stream).is_empty() {
                self.flush(function, stream);
            }
        }
        for (level, text) in self.lines.drain(..) {
            emit(function, level, &text);
        }
        if self.cut && !self.at_once {
            warn_of_rest(function);
        }
    }

    fn pending(&mut self, stream: GuestStream) -> &mut Vec<u8> {
        match stream {
            GuestStream::Out => &mut self.stdout,
            GuestStream::Err => &mut self.stderr,
        }
    }

    fn flush(&mut self, function: &str, stream: GuestStream) {
        let level = match stream {
            GuestStream::Out => Level::INFO,
            GuestStream::Err => Level::WARN,
        };
        let mut line = std::mem::take(self.pending(stream));
        // The last words of Go's runtime, which ends a program that no function of the SDK can save.
        let last_words = [&b"panic: "[..], b"fatal error: "];
        if level == Level::WARN
            && self.last_error.is_empty()
            && last_words.iter().any(|words| line.starts_with(words))
        {
            self.remember(&String::from_utf8_lossy(&line));
        }
        self.line(function, level, &line);
        line.clear();
        // Keeps the buffer's capacity, a line at most, for the next line.
        *self.pending(stream) = line;
    }
}

fn warn_of_rest(function: &str) {
    tracing::warn!(target: TARGET, function, "the call logs more than max_log allows; the rest is left out");
}

fn emit(function: &str, level: Level, text: &str) {
    // A guest may neither begin a line of its own in the server's log nor steer a terminal that
    // shows it.
    let text = OneLine(text);
    match level {
        Level::TRACE => tracing::trace!(target: TARGET, function, "{text}"),
        Level::DEBUG => tracing::debug!(target: TARGET, function, "{text}"),
        Level::INFO => tracing::info!(target: TARGET, function, "{text}"),
        Level::WARN => tracing::warn!(target: TARGET, function, "{text}"),
        Level::ERROR => tracing::error!(target: TARGET, function, "{text}"),
    }
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::{GuestLog, GuestStream};

    #[test]
    fn the_reason_of_a_trap_is_the_first_line_of_the_last_error() {
        let mut log = GuestLog::default();
        log.begin(1000);
        log.write("f", GuestStream::Err, b"a warning\nfatal error: all ");
        assert_eq!(log.last_error(), None);
        log.write(
            "f",
            GuestStream::Err,
            b"asleep\n\ngoroutine 1:\npanic: later\n",
        );
        assert_eq!(log.last_error(), Some("fatal error: all asleep"));
        log.line(
            "f",
            Level::ERROR,
            b"panic: no stock\ngoroutine 1 [running]:",
        );
        assert_eq!(log.last_error(), Some("panic: no stock"));
        log.write("f", GuestStream::Err, b"panic: later\n");
        assert_eq!(log.last_error(), Some("panic: no stock"));
        assert_eq!(log.lines.len(), 7);
    }

    #[test]
    fn empty_lines_are_limited_too() {
        let mut log = GuestLog::default();
        log.begin(5);
        log.write("f", GuestStream::Out, &[b'\n'; 100]);
        assert_eq!(log.lines.len(), 5);
        assert!(log.cut);
        log.begin(5);
        log.line("f", Level::INFO, b"hello");
        log.line("f", Level::INFO, b"");
        assert_eq!(log.lines, [(Level::INFO, "hello".to_owned())]);
        assert!(log.cut);
    }
}
