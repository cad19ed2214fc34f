//! Values that are kept until they are known to have changed, within a bound of memory.
//!
//! A key is awaited before its value is asked for. Whatever is known to change a key also removes its place, so
//! that an answer that was overtaken by a change is not kept.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;

/// Bytes that each key counts besides its names and value.
const ENTRY_COST: u64 = 320;

/// A single value may have this part of the bound.
const VALUE_PART: u64 = 8;

/// Values by space and key, of any number of spaces.
#[derive(Debug)]
pub(crate) struct ValueCache<V> {
    bytes_max: u64,
    kept: Mutex<Kept<V>>,
}

#[derive(Debug)]
struct Kept<V> {
    spaces: HashMap<u64, HashMap<Arc<[u8]>, Entry<V>>>,
    /// Keys in the order in which they leave, unless they are used again. Those whose number is not their entry's
    /// are gone.
    order: VecDeque<(u64, Arc<[u8]>, u64)>,
    /// Number of the last entry.
    last: u64,
    entries: usize,
    bytes: u64,
}

#[derive(Debug)]
struct Entry<V> {
    number: u64,
    /// `None` while the value is awaited.
    value: Option<Arc<V>>,
    bytes: u64,
    used: bool,
}

/// The right to keep the values of awaited keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket {
    /// Number of the last entry when the values were awaited. A key that was removed since and is awaited again has
    /// a higher number.
    last: u64,
}

impl<V> ValueCache<V> {
    pub(crate) fn new(bytes_max: u64) -> Self {
        Self {
            bytes_max,
            kept: Mutex::new(Kept {
                spaces: HashMap::new(),
                order: VecDeque::new(),
                last: 0,
                entries: 0,
                bytes: 0,
            }),
        }
    }

    /// Returns the value of a key, if it is kept.
    pub(crate) fn get(&self, space: u64, key: &[u8]) -> Option<Arc<V>> {
        let mut kept = self.kept.lock();
        let entry = kept.spaces.get_mut(&space)?.get_mut(key)?;
        entry.used = true;
        entry.value.clone()
    }

    /// Awaits the values of these keys, in place of what is kept of them. The first value that is filled in counts,
    /// if several await the same key at once.
    pub(crate) fn await_values<'k>(
        &self,
        space: u64,
        keys: impl Iterator<Item = &'k [u8]>,
    ) -> Ticket {
        let mut kept = self.kept.lock();
        for key in keys {
            let entry = kept.spaces.get(&space).and_then(|space| space.get(key));
            if entry.is_none_or(|entry| entry.value.is_some()) {
                kept.put(space, key.into(), None, cost(key));
            }
        }
        kept.shrink(self.bytes_max);
        Ticket { last: kept.last }
    }

    /// Keeps a value of `bytes` that was awaited with this ticket; returns false if the key was removed since,
    /// another value is kept already, or the value is too large.
    pub(crate) fn fill(
        &self,
        space: u64,
        ticket: Ticket,
        key: &[u8],
        value: Arc<V>,
        bytes: u64,
    ) -> bool {
        let bytes = cost(key) + bytes;
        let mut kept = self.kept.lock();
        let entry = kept.spaces.get(&space).and_then(|space| space.get(key));
        if !entry.is_some_and(|entry| ticket.covers(entry)) {
            return false;
        }
        if bytes > self.bytes_max / VALUE_PART {
            kept.remove(space, key);
            return false;
        }
        kept.put(space, key.into(), Some(value), bytes);
        kept.shrink(self.bytes_max);
        true
    }

    /// Removes a key; returns true if its value was kept.
    pub(crate) fn remove(&self, space: u64, key: &[u8]) -> bool {
        let entry = self.kept.lock().remove(space, key);
        entry.is_some_and(|entry| entry.value.is_some())
    }

    /// Removes all keys of a space; returns how many values were kept.
    pub(crate) fn clear(&self, space: u64) -> usize {
        let mut kept = self.kept.lock();
        let entries = kept.spaces.remove(&space).unwrap_or_default();
        kept.entries -= entries.len();
        kept.bytes -= entries.values().map(|entry| entry.bytes).sum::<u64>();
        kept.tidy();
        // The values are freed without the lock.
        drop(kept);
        entries
            .values()
            .filter(|entry| entry.value.is_some())
            .count()
    }

    /// Returns the bytes of everything that is kept and awaited.
    pub(crate) fn bytes(&self) -> u64 {
        self.kept.lock().bytes
    }
}

/// Returns the bytes of a key without its value, which has the key once more.
fn cost(key: &[u8]) -> u64 {
    ENTRY_COST + 2 * key.len() as u64
}

impl Ticket {
    fn covers<V>(self, entry: &Entry<V>) -> bool {
        entry.value.is_none() && entry.number <= self.last
    }
}

impl<V> Kept<V> {
    fn put(&mut self, space: u64, key: Arc<[u8]>, value: Option<Arc<V>>, bytes: u64) {
        self.remove(space, &key);
        self.last += 1;
        let entry = Entry {
            number: self.last,
            value,
            bytes,
            used: false,
        };
        self.order.push_back((space, Arc::clone(&key), self.last));
        self.spaces.entry(space).or_default().insert(key, entry);
        self.entries += 1;
        self.bytes += bytes;
        self.tidy();
    }

    fn remove(&mut self, space: u64, key: &[u8]) -> Option<Entry<V>> {
        let entry = self.spaces.get_mut(&space)?.remove(key)?;
        self.entries -= 1;
        self.bytes -= entry.bytes;
        Some(entry)
    }

    /// Lets the keys go that were not used for the longest time.
    fn shrink(&mut self, bytes_max: u64) {
        while self.bytes > bytes_max {
            let Some((space, key, number)) = self.order.pop_front() else {
                return;
            };
            let entry = self
                .spaces
                .get_mut(&space)
                .and_then(|one| one.get_mut(&key));
            match entry.filter(|entry| entry.number == number) {
                None => {}
                Some(entry) if entry.used => {
                    entry.used = false;
                    self.order.push_back((space, key, number));
                }
                Some(_) => drop(self.remove(space, &key)),
            }
        }
    }

    /// Forgets the order of keys that are gone, once they are the most.
    fn tidy(&mut self) {
        const SLACK: usize = 64;
        if self.order.len() <= 2 * self.entries + SLACK {
            return;
        }
        let spaces = &self.spaces;
        self.order.retain(|(space, key, number)| {
            let entry = spaces.get(space).and_then(|space| space.get(key));
            entry.is_some_and(|entry| entry.number == *number)
        });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{ENTRY_COST, ValueCache};

    fn keep(cache: &ValueCache<u32>, space: u64, key: &str, bytes: u64) {
        let ticket = cache.await_values(space, std::iter::once(key.as_bytes()));
        let _ = cache.fill(space, ticket, key.as_bytes(), Arc::new(7), bytes);
    }

    fn has(cache: &ValueCache<u32>, space: u64, key: &str) -> bool {
        cache.get(space, key.as_bytes()).is_some()
    }

    #[test]
    fn an_answer_that_a_change_has_overtaken_is_not_kept() {
        let cache = ValueCache::new(1 << 20);
        let awaited = |key: &'static str| cache.await_values(1, std::iter::once(key.as_bytes()));
        let fill = |ticket, key: &str| cache.fill(1, ticket, key.as_bytes(), Arc::new(7), 1);
        let ticket = awaited("changed");
        assert!(!has(&cache, 1, "changed"));
        assert!(!cache.remove(1, b"changed"));
        assert!(!fill(ticket, "changed"));
        assert!(!has(&cache, 1, "changed"));
        // The later of two questions was asked after the change.
        let early = awaited("twice");
        assert!(!cache.remove(1, b"twice"));
        let late = awaited("twice");
        assert!(!fill(early, "twice"));
        assert!(!has(&cache, 1, "twice"));
        assert!(fill(late, "twice"));
        assert!(has(&cache, 1, "twice"));
        // A value that is there is not taken for one that was awaited together with it.
        assert!(!fill(late, "twice"));
        let ticket = awaited("all");
        assert_eq!(cache.clear(1), 1);
        assert!(!fill(ticket, "all"));
        assert!(!has(&cache, 1, "all") && !has(&cache, 1, "twice"));
        assert_eq!(cache.bytes(), 0);
    }

    #[test]
    fn of_several_that_wait_at_once_the_first_fills() {
        let cache = ValueCache::new(1 << 20);
        let awaited = || cache.await_values(1, std::iter::once(&b"key"[..]));
        let fill = |ticket, value| cache.fill(1, ticket, b"key", Arc::new(value), 1);
        let value = || cache.get(1, b"key").as_deref().copied();
        let (first, second) = (awaited(), awaited());
        assert!(fill(first, 1));
        assert!(!fill(second, 2));
        assert_eq!(value(), Some(1));
        // It is read again, in place of what is kept.
        let again = awaited();
        assert_eq!(value(), None);
        assert!(!fill(second, 2));
        assert!(fill(again, 3));
        assert_eq!(value(), Some(3));
        // A change overtakes all that wait.
        let (first, second) = (awaited(), awaited());
        assert!(!cache.remove(1, b"key"));
        let after = awaited();
        assert!(!fill(first, 4) && !fill(second, 5));
        assert!(fill(after, 6));
        assert_eq!(value(), Some(6));
    }

    #[test]
    fn memory_is_bounded_and_what_is_used_stays() {
        const VALUE: u64 = 1000;
        let cache = ValueCache::new(10 * (VALUE + ENTRY_COST + 8));
        keep(&cache, 1, "used", VALUE);
        for number in 0..1000 {
            assert!(has(&cache, 1, "used"), "{number}");
            keep(&cache, 2, &number.to_string(), VALUE);
            assert!(cache.bytes() <= cache.bytes_max);
        }
        assert!(has(&cache, 2, "999") && !has(&cache, 2, "900"));
        keep(&cache, 1, "huge", cache.bytes_max / 2);
        assert!(!has(&cache, 1, "huge") && has(&cache, 1, "used"));
        // Awaited keys are bounded too, and so is the order of those that are gone.
        for number in 0..1000 {
            let key = format!("awaited:{number}");
            cache.await_values(3, std::iter::once(key.as_bytes()));
            cache.remove(3, key.as_bytes());
        }
        let kept = cache.kept.lock();
        assert!(
            kept.order.len() <= 2 * kept.entries + 64,
            "{}",
            kept.order.len()
        );
    }
}
