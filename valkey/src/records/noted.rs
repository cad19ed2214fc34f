//! Events of a command, until they are queued after it.

/// Noted events, and the mark that the server has promised a job that queues them.
pub(crate) struct Noted<T> {
    seen: Vec<T>,
    has_job: bool,
}

impl<T> Default for Noted<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Noted<T> {
    pub(crate) const fn new() -> Self {
        Self {
            seen: Vec::new(),
            has_job: false,
        }
    }

    /// Notes what happened. Returns true if the server is to be asked for a job; see [`Noted::promised`].
    pub(crate) fn note(&mut self, seen: T) -> bool {
        self.seen.push(seen);
        !self.has_job
    }

    /// Notes that the server has promised a job after the present command.
    pub(crate) const fn promised(&mut self) {
        self.has_job = true;
    }

    /// Takes everything, in the job.
    pub(crate) fn take(&mut self) -> Vec<T> {
        self.has_job = false;
        std::mem::take(&mut self.seen)
    }

    /// Takes what no job will come for.
    pub(crate) fn take_left(&mut self) -> Vec<T> {
        if self.has_job {
            return Vec::new();
        }
        std::mem::take(&mut self.seen)
    }
}

#[cfg(test)]
mod tests {
    use super::Noted;

    #[test]
    fn what_no_job_is_promised_for_is_left_and_not_lost() {
        let mut noted = Noted::new();
        assert!(noted.note(1), "a job is asked for");
        // It was refused: the next one asks again.
        assert!(noted.note(2));
        noted.promised();
        assert!(!noted.note(3), "there is one");
        assert!(noted.take_left().is_empty());
        assert_eq!(noted.take(), [1, 2, 3]);
        assert!(noted.note(4), "the job is over");
        assert_eq!(noted.take_left(), [4]);
        assert!(noted.take().is_empty());
    }
}
