//! A page of metrics in Prometheus' text format, while it is written.

use std::fmt::{Display, Write as _};

/// The page while it is written.
#[derive(Debug, Default)]
pub(super) struct Page(String);

impl Page {
    /// Writes the name, kind and help of a metric; its samples follow.
    pub(super) fn head(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    pub(super) fn sample(&mut self, name: &str, labels: &str, value: impl Display) {
        let _ = writeln!(self.0, "{name}{labels} {value}");
    }

    /// Writes a metric with one sample.
    pub(super) fn single(&mut self, name: &str, kind: &str, help: &str, value: impl Display) {
        self.head(name, kind, help);
        self.sample(name, "", value);
    }

    /// Returns the text.
    pub(super) fn into_text(self) -> String {
        self.0
    }
}
