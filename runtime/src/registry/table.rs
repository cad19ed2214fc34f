//! A table of names that is read without a lock, and changed by one change at a time.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::Arc;

use arc_swap::ArcSwap;
use foldhash::fast::RandomState;
use parking_lot::Mutex;

/// A snapshot of all names.
pub(crate) type Names<T> = HashMap<Box<[u8]>, Arc<T>, RandomState>;

/// A table of names.
///
/// Readers see either the state before a change or the one after it, and never wait. A change
/// copies the table, which costs some microseconds for a thousand names.
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
        let _changing = self.changing.lock();
        let mut names = Names::clone(&self.names.load());
        let result = change(&mut names)?;
        self.names.store(Arc::new(names));
        Ok(result)
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
            names.insert(name.into(), Arc::new(value));
            Ok::<(), ()>(())
        };
        assert_eq!(registry.change(put), Ok(()));
    }

    #[test]
    fn a_change_that_fails_changes_nothing() {
        let registry = Registry::default();
        put(&registry, b"a", 1);
        let failed: Result<(), &str> = registry.change(|names| {
            names.clear();
            Err("no")
        });
        assert_eq!(failed, Err("no"));
        assert_eq!(registry.get(b"a").as_deref(), Some(&1));
        assert_eq!(registry.get(b"b"), None);
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
