//! The shards that a command works on, locked in one order.

use parking_lot::MutexGuard;
use smallvec::SmallVec;

use crate::execution::core::Core;
use crate::keyspace::shard::{SHARDS, Shard};

/// Guards of some shards. Several locks are always taken in ascending order, so there is no
/// deadlock.
pub(crate) enum LockedShards<'s> {
    One(usize, MutexGuard<'s, Shard>),
    /// In ascending order.
    Some(SmallVec<[(usize, MutexGuard<'s, Shard>); 4]>),
    All(Vec<MutexGuard<'s, Shard>>),
    /// Every shard, each locked when it is needed and released before the next.
    InTurn(&'s Core, Option<(usize, MutexGuard<'s, Shard>)>),
}

impl<'s> LockedShards<'s> {
    pub(crate) fn one(core: &'s Core, shard: usize) -> Self {
        Self::One(shard, core.lock(shard))
    }

    /// Locks some shards, given in any order, duplicates included.
    pub(crate) fn some(core: &'s Core, mut shards: SmallVec<[usize; 8]>) -> Self {
        shards.sort_unstable();
        shards.dedup();
        match shards[..] {
            [shard] => Self::one(core, shard),
            _ => Self::Some(
                shards
                    .into_iter()
                    .map(|shard| (shard, core.lock(shard)))
                    .collect(),
            ),
        }
    }

    pub(crate) fn all(core: &'s Core) -> Self {
        Self::All((0..SHARDS).map(|shard| core.lock(shard)).collect())
    }

    /// Locks every shard when it is needed, never two at once.
    ///
    /// For commands that go through all keys and need no view of one moment: no other command has
    /// to wait until they are through.
    pub(crate) fn in_turn(core: &'s Core) -> Self {
        Self::InTurn(core, None)
    }

    /// Releases a lock that was taken in turn; the others stay.
    pub(crate) fn release_turn(&mut self) {
        if let Self::InTurn(_, held) = self {
            *held = None;
        }
    }

    /// A shard, if it is locked.
    pub(crate) fn shard(&mut self, shard: usize) -> Option<&mut Shard> {
        match self {
            Self::One(only, guard) => (*only == shard).then_some(&mut **guard),
            Self::Some(guards) => {
                let at = guards
                    .binary_search_by_key(&shard, |(shard, _)| *shard)
                    .ok()?;
                Some(&mut guards[at].1)
            }
            Self::All(guards) => guards.get_mut(shard).map(|guard| &mut **guard),
            Self::InTurn(core, held) => {
                if held.as_ref().is_none_or(|(index, _)| *index != shard) {
                    // Before the next one is locked: two locks out of order could be a deadlock.
                    *held = None;
                    *held = Some((shard, core.lock(shard)));
                }
                held.as_mut().map(|(_, guard)| &mut **guard)
            }
        }
    }

    /// Passes each locked shard to `visit`.
    pub(crate) fn each(&mut self, mut visit: impl FnMut(&mut Shard)) {
        match self {
            Self::One(_, guard) => visit(guard),
            Self::Some(guards) => guards.iter_mut().for_each(|(_, guard)| visit(guard)),
            Self::All(guards) => guards.iter_mut().for_each(|guard| visit(guard)),
            Self::InTurn(..) => {
                for index in 0..SHARDS {
                    if let Some(shard) = self.shard(index) {
                        visit(shard);
                    }
                }
                self.release_turn();
            }
        }
    }

    /// Returns true if `test` returns true for a locked shard.
    pub(crate) fn any(&mut self, mut test: impl FnMut(&mut Shard) -> bool) -> bool {
        let mut found = false;
        self.each(|shard| found = found || test(shard));
        found
    }
}

#[cfg(test)]
mod tests {
    use super::LockedShards;
    use crate::execution::core::Core;
    use crate::execution::direct::Direct;
    use crate::execution::view::View as _;
    use crate::keyspace::shard::SHARDS;
    use crate::options::StoreOptions;
    use crate::value::Value;
    use crate::value::deadline::Deadline;

    fn locked(core: &Core) -> usize {
        (0..SHARDS).filter(|&shard| core.is_locked(shard)).count()
    }

    #[test]
    fn a_scan_in_turn_holds_one_lock_while_it_visits_and_none_between_its_slices() {
        let core = Core::in_memory(&StoreOptions::default());
        let mut direct = Direct::new(&core, LockedShards::all(&core), 0);
        for key in 0..1_000_u32 {
            direct
                .put(&key.to_le_bytes(), Value::text(b""), Deadline::NEVER)
                .expect("all shards are locked");
        }
        direct.finish();

        let mut direct = Direct::new(&core, LockedShards::in_turn(&core), 0);
        let (mut next, mut seen) = (0, 0);
        loop {
            next = direct
                .scan(next, 100, &mut |_, _| {
                    seen += 1;
                    assert_eq!(locked(&core), 1);
                })
                .expect("every shard can be locked");
            assert_eq!(locked(&core), 0);
            if next == 0 {
                break;
            }
        }
        assert_eq!(seen, 1_000);
        assert_eq!(direct.len().expect("every shard can be locked"), 1_000);
        assert_eq!(locked(&core), 0);
    }
}
