//! Progress of a command: a bar on a terminal, plain lines elsewhere.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use ferrite_protocol::one_line::OneLine;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Time between two movements of the bar while no step ends.
const TICK: Duration = Duration::from_millis(100);

/// The progress of a number of steps, on standard error.
pub(crate) struct Progress {
    /// The bar; hidden if standard error is no terminal.
    bar: ProgressBar,
    /// True if messages are printed as lines instead.
    lines: bool,
}

impl Progress {
    /// Starts the progress of `steps` steps. With `quiet` nothing is shown.
    pub(crate) fn new(steps: usize, quiet: bool) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let target = if terminal && !quiet {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(Some(steps as u64), target);
        // A single step shows no bar, which would stand still, but for how long it has taken.
        let template = if steps == 1 {
            "{spinner:.cyan} {elapsed:>4}  {wide_msg}"
        } else {
            "{spinner:.cyan} {elapsed:>4} {bar:24.cyan} {pos}/{len}  {wide_msg}"
        };
        let style =
            ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        bar.set_style(style);
        if !bar.is_hidden() {
            bar.enable_steady_tick(TICK);
        }
        Self {
            bar,
            lines: !terminal && !quiet,
        }
    }

    /// Shows what the command is working on.
    pub(crate) fn set_message(&self, on: &str) {
        if self.lines {
            // A message that cannot be printed is no reason to stop.
            let _ = std::io::stderr().write_all(format!("{}\n", OneLine(on)).as_bytes());
        } else {
            self.bar.set_message(OneLine(on).to_string());
        }
    }

    /// Counts one finished step.
    pub(crate) fn step(&self) {
        self.bar.inc(1);
    }

    /// Hides the bar while `print` runs, so that its output stays readable.
    pub(crate) fn suspend<T>(&self, print: impl FnOnce() -> T) -> T {
        self.bar.suspend(print)
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
