//! What is shown while a command works: a bar on a terminal, plain lines elsewhere.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How often a bar moves while nothing ends.
const TICK: Duration = Duration::from_millis(100);

/// The progress of a number of steps, on standard error.
pub(crate) struct Progress {
    /// The bar; hidden where there is no terminal.
    bar: ProgressBar,
    /// Whether steps are announced by lines instead.
    lines: bool,
}

impl Progress {
    /// Starts at nothing of `steps`. `quiet` shows nothing at all.
    pub(crate) fn new(steps: usize, quiet: bool) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let target = if terminal && !quiet {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(Some(steps as u64), target);
        let style = ProgressStyle::with_template("{spinner} {bar:24} {pos}/{len}  {wide_msg}")
            .unwrap_or_else(|_| ProgressStyle::default_bar());
        bar.set_style(style);
        if !bar.is_hidden() {
            bar.enable_steady_tick(TICK);
        }
        Self {
            bar,
            lines: !terminal && !quiet,
        }
    }

    /// Says what is being worked on.
    pub(crate) fn set_message(&self, on: String) {
        if self.lines {
            // Progress that nobody can read is no reason to stop.
            let _ = std::io::stderr().write_all(format!("{on}\n").as_bytes());
        } else {
            self.bar.set_message(on);
        }
    }

    /// One step is done.
    pub(crate) fn step(&self) {
        self.bar.inc(1);
    }

    /// Runs something that prints, with the bar out of its way.
    pub(crate) fn suspend<T>(&self, print: impl FnOnce() -> T) -> T {
        self.bar.suspend(print)
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
