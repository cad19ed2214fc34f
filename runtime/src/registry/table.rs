//! A table of names that is read without a lock, and changed by one change at a time.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::Arc;

use arc_swap::ArcSwap;
use foldhash::fast::RandomState;
use parking_lot::{Mutex, MutexGuard};

/// Parts of a table. A change copies those that it touches, and no others: with 10,000 names, about 160
/// of them for each name that changes.
const PARTS: usize = 64;

/// Last bytes of a name that decide its part: names often begin alike.
const DECIDING_BYTES: usize = 4;

type Part<T> = HashMap<Box<[u8]>, Arc<T>, RandomState>;

/// All names with their values, at one moment. A clone shares the parts that neither changes.
pub(crate) struct Names<T> {
    parts: [Arc<Part<T>>; PARTS],
    len: usize,
}

/// Returns the part of a name.
#[inline]
fn part_of(name: &[u8]) -> usize {
    let last = name.iter().rev().take(DECIDING_BYTES);
    let sum = last.fold(name.len(), |sum, byte| {
        sum.wrapping_mul(31).wrapping_add(usize::from(*byte))
    });
    sum % PARTS
}

impl<T> Names<T> {
    /// Returns the number of names.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Returns the value of `name`.
    #[inline]
    pub(crate) fn get(&self, name: &[u8]) -> Option<&Arc<T>> {
        self.parts[part_of(name)].get(name)
    }

    /// Returns the value of `name`, to change it.
    pub(crate) fn get_mut(&mut self, name: &[u8]) -> Option<&mut Arc<T>> {
        Arc::make_mut(&mut self.parts[part_of(name)]).get_mut(name)
    }

    /// Sets the value of `name`.
    pub(crate) fn insert(&mut self, name: &[u8], value: Arc<T>) {
        let part = Arc::make_mut(&mut self.parts[part_of(name)]);
        let before = part.insert(name.into(), value);
        self.len += usize::from(before.is_none());
    }

    /// Removes `name`, and returns its value.
    pub(crate) fn remove(&mut self, name: &[u8]) -> Option<Arc<T>> {
        let removed = Arc::make_mut(&mut self.parts[part_of(name)]).remove(name);
        self.len -= usize::from(removed.is_some());
        removed
    }

    /// Returns all values.
    pub(crate) fn values(&self) -> impl Iterator<Item = &Arc<T>> {
        self.parts.iter().flat_map(|part| part.values())
    }

    /// Returns all values, to change them.
    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut Arc<T>> {
        let parts = self.parts.iter_mut();
        parts.flat_map(|part| Arc::make_mut(part).values_mut())
    }

    /// Returns the values that are new or other ones since `before`. Looks only at changed parts.
    pub(crate) fn put_since<'a>(&'a self, before: &'a Self) -> impl Iterator<Item = &'a Arc<T>> {
        self.changed_parts(before).flat_map(|(now, before)| {
            let new = now.iter().filter(move |(name, value)| {
                let known = before.get(*name);
                known.is_none_or(|known| !Arc::ptr_eq(value, known))
            });
            new.map(|(_, value)| value)
        })
    }

    /// Returns the values whose names are gone since `before`. Looks only at changed parts.
    pub(crate) fn gone_since<'a>(&'a self, before: &'a Self) -> impl Iterator<Item = &'a Arc<T>> {
        self.changed_parts(before).flat_map(|(now, before)| {
            let gone = before.iter().filter(|(name, _)| !now.contains_key(*name));
            gone.map(|(_, value)| value)
        })
    }

    /// Returns the parts that are not shared with `before`, and those of `before`.
    fn changed_parts<'a>(
        &'a self,
        before: &'a Self,
    ) -> impl Iterator<Item = (&'a Part<T>, &'a Part<T>)> {
        let pairs = self.parts.iter().zip(&before.parts);
        pairs
            .filter(|(now, before)| !Arc::ptr_eq(now, before))
            .map(|(now, before)| (&**now, &**before))
    }
}

impl<T> Clone for Names<T> {
    fn clone(&self) -> Self {
        Self {
            parts: self.parts.clone(),
            len: self.len,
        }
    }
}

impl<T> Default for Names<T> {
    fn default() -> Self {
        Self {
            parts: std::array::from_fn(|_| Arc::default()),
            len: 0,
        }
    }
}

/// A table of names.
///
/// Readers see either the state before a change or the one after it, and never wait.
pub(crate) struct Registry<T> {
    names: ArcSwap<Names<T>>,
    changing: Mutex<()>,
}

impl<T> Registry<T> {
    /// Creates a registry of these names.
    #[must_use]
    pub(crate) fn new(names: Names<T>) -> Self {
        Self {
            names: ArcSwap::from_pointee(names),
            changing: Mutex::new(()),
        }
    }

    /// Returns the value of `name`.
    #[must_use]
    #[inline]
    pub(crate) fn get(&self, name: &[u8]) -> Option<Arc<T>> {
        self.names.load().get(name).cloned()
    }

    /// Returns a guard of the names at this moment, without changing a count that threads share. The
    /// values stay valid while the guard lives.
    #[must_use]
    #[inline]
    pub(crate) fn read(&self) -> impl Deref<Target = Arc<Names<T>>> + use<T> {
        self.names.load()
    }

    /// Returns all names at one moment.
    #[must_use]
    pub(crate) fn snapshot(&self) -> Arc<Names<T>> {
        self.names.load_full()
    }

    /// Changes the names in one step, or not at all if `change` fails.
    ///
    /// Changes wait for each other, so `change` sees the result of the last one. `change` may block.
    pub(crate) fn change<R, E>(
        &self,
        change: impl FnOnce(&mut Names<T>) -> Result<R, E>,
    ) -> Result<R, E> {
        let (result, _changing) = self.begin_change(change)?.publish();
        Ok(result)
    }

    /// Changes the names, or nothing if `change` fails, and leaves it to the caller when readers see them.
    ///
    /// Other changes wait until the one that is returned is over.
    pub(crate) fn begin_change<R, E>(
        &self,
        change: impl FnOnce(&mut Names<T>) -> Result<R, E>,
    ) -> Result<PendingChange<'_, T, R>, E> {
        let changing = self.changing.lock();
        let mut names = Names::clone(&self.names.load());
        let result = change(&mut names)?;
        Ok(PendingChange {
            registry: self,
            changing,
            names,
            result,
        })
    }
}

/// A change that readers do not see yet. Dropping it discards the change.
pub(crate) struct PendingChange<'r, T, R> {
    registry: &'r Registry<T>,
    changing: MutexGuard<'r, ()>,
    names: Names<T>,
    result: R,
}

impl<'r, T, R> PendingChange<'r, T, R> {
    /// Lets readers see the change, and returns its result. Other changes wait until the guard is dropped.
    pub(crate) fn publish(self) -> (R, MutexGuard<'r, ()>) {
        let Self {
            registry,
            changing,
            names,
            result,
        } = self;
        registry.names.store(Arc::new(names));
        (result, changing)
    }
}

impl<T> Default for Registry<T> {
    fn default() -> Self {
        Self::new(Names::default())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::{Names, Registry};

    fn put(registry: &Registry<u32>, name: &[u8], value: u32) {
        let put = |names: &mut Names<u32>| {
            names.insert(name, Arc::new(value));
            Ok::<(), ()>(())
        };
        assert_eq!(registry.change(put), Ok(()));
    }

    #[test]
    fn a_change_that_fails_changes_nothing() {
        let registry = Registry::default();
        put(&registry, b"a", 1);
        let failed: Result<(), &str> = registry.change(|names| {
            *names = Names::default();
            Err("no")
        });
        assert_eq!(failed, Err("no"));
        assert_eq!(registry.get(b"a").as_deref(), Some(&1));
        assert_eq!(registry.get(b"b"), None);
    }

    #[test]
    fn names_are_what_a_plain_map_has() {
        let mut random = fastrand::Rng::with_seed(1);
        let mut names = Names::default();
        let mut model = std::collections::BTreeMap::new();
        for step in 0..3_000_u32 {
            let before = names.clone();
            let model_before = model.clone();
            let name = format!("name:{}", random.u32(..500)).into_bytes();
            match random.u32(..4) {
                0 => {
                    let removed = names.remove(&name);
                    assert_eq!(removed.as_deref(), model.remove(&name).as_ref());
                }
                1 => match names.get_mut(&name) {
                    Some(value) => {
                        *value = Arc::new(step);
                        model.insert(name.clone(), step);
                    }
                    None => assert!(!model.contains_key(&name)),
                },
                _ => {
                    names.insert(&name, Arc::new(step));
                    model.insert(name.clone(), step);
                }
            }
            assert_eq!(names.get(&name).map(|it| **it), model.get(&name).copied());
            assert_eq!(names.len(), model.len());
            let put: Vec<u32> = names.put_since(&before).map(|value| **value).collect();
            let put_expected: Vec<u32> = model.values().copied().filter(|it| *it == step).collect();
            assert_eq!(put, put_expected);
            let gone: Vec<u32> = names.gone_since(&before).map(|value| **value).collect();
            let gone_expected: Vec<u32> = model_before
                .iter()
                .filter(|(name, _)| !model.contains_key(*name))
                .map(|(_, value)| *value)
                .collect();
            assert_eq!(gone, gone_expected);
            assert_eq!(
                before.len(),
                model_before.len(),
                "the clone stays as it was"
            );
        }
        let mut values: Vec<u32> = names.values().map(|value| **value).collect();
        values.sort_unstable();
        let mut expected: Vec<u32> = model.into_values().collect();
        expected.sort_unstable();
        assert_eq!(values, expected);
    }

    /// The cost of a change, in names that are copied for it.
    #[test]
    fn a_change_copies_few_names() {
        let mut names = Names::default();
        for number in 0..10_000_u32 {
            names.insert(format!("function:{number:05}").as_bytes(), Arc::new(number));
        }
        let mut after = names.clone();
        after.insert(b"function:10000", Arc::new(10_000));
        let copied: usize = after
            .changed_parts(&names)
            .map(|(part, _)| part.len())
            .sum();
        assert!((1..1_000).contains(&copied), "{copied} names were copied");
    }

    #[test]
    fn readers_never_see_a_name_missing_while_it_is_replaced() {
        let registry = Registry::default();
        put(&registry, b"f", 0);
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    let mut last = 0;
                    while !done.load(Ordering::Relaxed) {
                        let now = *registry.get(b"f").expect("always there");
                        assert!(now >= last);
                        last = now;
                    }
                });
            }
            for version in 1..2000 {
                put(&registry, b"f", version);
            }
            done.store(true, Ordering::Relaxed);
        });
    }
}
