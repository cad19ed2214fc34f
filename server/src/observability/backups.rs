//! Figures of the backups that were made while the server runs, and the guard that lets only one run.

use std::time::Duration;

use parking_lot::Mutex;

/// Figures of the backups since the start.
#[derive(Debug, Default)]
pub(crate) struct Backups(Mutex<BackupFigures>);

/// The figures at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct BackupFigures {
    /// Backups that were made.
    pub(crate) count: u64,
    /// True while one is being made.
    pub(crate) running: bool,
    /// True if the last one failed.
    pub(crate) failed: bool,
    /// Time of the last one, in seconds since 1970; that of the start if there was none.
    pub(crate) saved_at: u64,
    /// Number of the last commit in it.
    pub(crate) commits: u64,
    /// Time that it took.
    pub(crate) took: Option<Duration>,
}

impl Backups {
    /// Makes the figures of a server that started at this time with this number of commits.
    pub(crate) fn new(started_unix: u64, commits: u64) -> Self {
        Self(Mutex::new(BackupFigures {
            saved_at: started_unix,
            commits,
            ..BackupFigures::default()
        }))
    }

    pub(crate) fn figures(&self) -> BackupFigures {
        *self.0.lock()
    }

    /// Begins a backup; `None` if one is being made.
    pub(crate) fn begin(&self) -> Option<RunningBackup<'_>> {
        let mut figures = self.0.lock();
        if figures.running {
            return None;
        }
        figures.running = true;
        Some(RunningBackup {
            backups: self,
            outcome: None,
        })
    }
}

/// A backup that is being made. Dropping it ends it: as failed, unless it was told the outcome.
#[derive(Debug)]
pub(crate) struct RunningBackup<'a> {
    backups: &'a Backups,
    outcome: Option<(u64, u64, Duration)>,
}

impl RunningBackup<'_> {
    /// The backup is made. `commits` is the number of the last commit in it.
    pub(crate) fn done(mut self, saved_at: u64, commits: u64, took: Duration) {
        self.outcome = Some((saved_at, commits, took));
    }
}

impl Drop for RunningBackup<'_> {
    fn drop(&mut self) {
        let mut figures = self.backups.0.lock();
        figures.running = false;
        figures.failed = self.outcome.is_none();
        if let Some((saved_at, commits, took)) = self.outcome {
            figures.count += 1;
            figures.saved_at = saved_at;
            figures.commits = commits;
            figures.took = Some(took);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Backups;

    #[test]
    fn one_runs_at_a_time_and_a_dropped_one_has_failed() {
        let backups = Backups::new(5, 7);
        let first = backups.begin().expect("the first");
        assert!(backups.begin().is_none() && backups.figures().running);
        drop(first);
        let figures = backups.figures();
        assert!(figures.failed && !figures.running);
        assert_eq!(
            (figures.saved_at, figures.commits, figures.count),
            (5, 7, 0)
        );
        let second = backups.begin().expect("the second");
        second.done(9, 8, Duration::from_secs(1));
        let figures = backups.figures();
        assert!(!figures.failed && figures.count == 1);
        assert_eq!((figures.saved_at, figures.commits), (9, 8));
    }
}
