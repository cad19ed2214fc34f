//! Commits that wait for the disk: their effects, one after the other.

use std::cell::Cell;
use std::ops::{Deref, DerefMut};

use crate::keyspace::effect::{Effect, Effects};

/// Most effects whose memory is kept for the next commits.
const KEPT_LEN_MAX: usize = 4096;

/// Commits in their order. All their effects lie in one piece, whose memory is used again, so that a commit
/// that waits costs no allocation.
#[derive(Debug, Default)]
pub(super) struct Commits {
    effects: Vec<Effect>,
    /// For each commit, the number of effects up to its end.
    ends: Vec<usize>,
}

impl Commits {
    /// Adds a commit; its effects are moved out of `effects`.
    pub(super) fn push(&mut self, effects: &mut Effects) {
        self.effects.append(effects);
        self.ends.push(self.effects.len());
    }

    /// Number of commits.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Removes all commits, and keeps their memory unless it is large.
    pub(super) fn clear(&mut self) {
        self.effects.clear();
        self.ends.clear();
        self.effects.shrink_to(KEPT_LEN_MAX);
        self.ends.shrink_to(KEPT_LEN_MAX);
    }

    /// Divides the commits into batches, in order: each has as many as stay below both bounds, and at least one.
    pub(super) fn batches(&self, effects_max: usize, bytes_max: usize) -> Batches<'_> {
        Batches {
            commits: self,
            next: 0,
            effects_max,
            bytes_max,
        }
    }
}

/// Some commits that follow each other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Batch<'c> {
    pub(super) effects: &'c [Effect],
    /// Number of commits.
    pub(super) len: usize,
    /// Approximate number of bytes of the effects.
    pub(super) bytes: usize,
}

/// Iterator of [`Commits::batches`].
pub(super) struct Batches<'c> {
    commits: &'c Commits,
    /// The first commit of the next batch.
    next: usize,
    effects_max: usize,
    bytes_max: usize,
}

impl<'c> Iterator for Batches<'c> {
    type Item = Batch<'c>;

    fn next(&mut self) -> Option<Batch<'c>> {
        let ends = self.commits.ends.get(self.next..)?;
        let start = match self.next {
            0 => 0,
            next => self.commits.ends[next - 1],
        };
        let (mut len, mut bytes, mut end) = (0, 0, start);
        for &next_end in ends {
            let commit = &self.commits.effects[end..next_end];
            let with_it = bytes + commit.iter().map(Effect::weight).sum::<usize>();
            if len > 0 && (next_end - start > self.effects_max || with_it > self.bytes_max) {
                break;
            }
            (len, bytes, end) = (len + 1, with_it, next_end);
        }
        self.next += len;
        (len > 0).then(|| Batch {
            effects: &self.commits.effects[start..end],
            len,
            bytes,
        })
    }
}

thread_local! {
    /// The memory of a commit of this thread, empty. What the writer's thread freed would have to be locked against
    /// the thread that allocated it.
    static SPARE: Cell<Effects> = const { Cell::new(Effects::new()) };
}

/// The effects of a commit under construction, in memory that its thread uses again for the next one.
#[derive(Debug)]
pub(crate) struct OwnEffects(Effects);

impl OwnEffects {
    /// None yet, with memory for some if this thread had a commit before.
    pub(crate) fn new() -> Self {
        Self(SPARE.take())
    }
}

impl Deref for OwnEffects {
    type Target = Effects;

    fn deref(&self) -> &Effects {
        &self.0
    }
}

impl DerefMut for OwnEffects {
    fn deref_mut(&mut self) -> &mut Effects {
        &mut self.0
    }
}

impl Drop for OwnEffects {
    fn drop(&mut self) {
        // Most effects whose memory is kept.
        const KEPT_LEN_MAX: usize = 64;
        let mut effects = std::mem::take(&mut self.0);
        if effects.capacity() <= KEPT_LEN_MAX {
            effects.clear();
            // Without one once the thread ends.
            let _ = SPARE.try_with(|spare| spare.set(effects));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::blob::Blob;

    fn record(value: &[u8]) -> Effect {
        Effect::Record {
            name: Blob::new(b"name"),
            value: Blob::new(value),
        }
    }

    fn commits(lens: &[usize]) -> Commits {
        let mut commits = Commits::default();
        for &len in lens {
            let mut effects = vec![record(b"value"); len];
            commits.push(&mut effects);
            assert!(effects.is_empty());
        }
        commits
    }

    fn batch_lens(commits: &Commits, effects_max: usize, bytes_max: usize) -> Vec<(usize, usize)> {
        commits
            .batches(effects_max, bytes_max)
            .map(|batch| (batch.len, batch.effects.len()))
            .collect()
    }

    #[test]
    fn a_batch_has_whole_commits_below_its_bounds() {
        let commits = commits(&[1, 2, 3, 4, 1]);
        assert_eq!(
            batch_lens(&commits, 3, usize::MAX),
            [(2, 3), (1, 3), (1, 4), (1, 1)]
        );
        assert_eq!(batch_lens(&commits, 100, usize::MAX), [(5, 11)]);
        let of_three = 3 * record(b"value").weight();
        assert_eq!(
            batch_lens(&commits, 100, of_three),
            [(2, 3), (1, 3), (1, 4), (1, 1)]
        );
        let bytes: usize = commits.batches(3, of_three).map(|batch| batch.bytes).sum();
        assert_eq!(bytes, 11 * record(b"value").weight());
    }

    #[test]
    fn a_commit_without_effects_is_in_a_batch() {
        assert_eq!(batch_lens(&commits(&[0]), 1, 1), [(1, 0)]);
        assert_eq!(batch_lens(&commits(&[0, 1, 0]), 1, usize::MAX), [(3, 1)]);
        assert_eq!(batch_lens(&commits(&[]), 1, 1), []);
    }

    #[test]
    fn memory_of_few_effects_is_kept_and_of_many_freed() {
        let mut kept = commits(&[100; 10]);
        let capacity = kept.effects.capacity();
        kept.clear();
        assert!(kept.is_empty());
        assert_eq!(kept.effects.capacity(), capacity);

        let mut many = commits(&[100; 1000]);
        many.clear();
        assert!(
            many.effects.capacity() < 2 * KEPT_LEN_MAX,
            "{}",
            many.effects.capacity()
        );

        drop(OwnEffects(vec![record(b"value")]));
        let again = OwnEffects::new();
        assert_eq!((again.len(), again.capacity()), (0, 1));
        drop(OwnEffects(vec![record(b"value"); 1000]));
        assert_eq!(OwnEffects::new().capacity(), 0);
    }

    #[test]
    fn a_command_that_reads_leaves_the_memory_for_the_next_write() {
        use crate::api::session::Session;
        use crate::api::store::Store;
        use ferrite_protocol::resp::Encoder;

        let folder = tempfile::tempdir().expect("a temporary directory");
        let disk = crate::durable::DiskOptions::new(folder.path());
        let store = Store::open(&crate::options::StoreOptions::default(), disk)
            .expect("an empty directory");
        let mut session = Session::new();
        for command in [&[&b"SET"[..], b"key", b"value"][..], &[b"GET", b"key"]] {
            let _ = store.execute(&mut session, command, &mut Encoder::default());
            let kept = OwnEffects::new();
            assert!(kept.capacity() > 0, "after {}", command[0].escape_ascii());
        }
    }
}
