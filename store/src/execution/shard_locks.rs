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
        }
    }

    pub(crate) fn iter_mut(&mut self) -> Box<dyn Iterator<Item = &mut Shard> + '_> {
        match self {
            Self::One(_, guard) => Box::new(std::iter::once(&mut **guard)),
            Self::Some(guards) => Box::new(guards.iter_mut().map(|(_, guard)| &mut **guard)),
            Self::All(guards) => Box::new(guards.iter_mut().map(|guard| &mut **guard)),
        }
    }
}
