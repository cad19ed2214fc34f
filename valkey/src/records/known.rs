//! Names of the events and requests that this server knows to have, so that it need not look for them.

use std::collections::{BTreeSet, HashMap};
use std::ops::Bound;

use crate::records::place::{Place, place_of};

/// The name of a record.
pub(crate) type Name = Box<[u8]>;

/// Names of the records that are known.
#[derive(Default)]
pub(crate) struct Known {
    names: BTreeSet<Name>,
    /// Number of names in each part of the data.
    counts: HashMap<Place, usize>,
}

/// Names in which a hash differs from what was known of it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Difference {
    /// In the hash, and not known.
    pub(crate) new: Vec<Name>,
    /// Known, and not in the hash.
    pub(crate) gone: Vec<Name>,
}

impl Known {
    pub(crate) fn insert(&mut self, name: &[u8]) {
        if self.names.insert(name.into()) {
            *self.counts.entry(place_of(name)).or_default() += 1;
        }
    }

    pub(crate) fn remove(&mut self, name: &[u8]) {
        if !self.names.remove(name) {
            return;
        }
        let place = place_of(name);
        if let Some(count) = self.counts.get_mut(&place) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&place);
            }
        }
    }

    /// Number of names in a part of the data.
    pub(crate) fn count(&self, place: Place) -> usize {
        self.counts.get(&place).copied().unwrap_or(0)
    }

    /// Returns at most `count` names that begin with `prefix` and come after `after`, in order.
    pub(crate) fn page(&self, prefix: &[u8], after: &[u8], count: usize) -> Vec<Name> {
        let start = if after < prefix {
            Bound::Included(prefix)
        } else {
            Bound::Excluded(after)
        };
        let names = self.names.range::<[u8], _>((start, Bound::Unbounded));
        let names = names.take_while(|name| name.starts_with(prefix));
        names.take(count).cloned().collect()
    }

    /// Compares a part of the data with the names that are in it. Those that are gone are not known any more;
    /// those that are new have still to be read.
    pub(crate) fn compare(&mut self, place: Place, found: BTreeSet<Name>) -> Difference {
        let ours = self.names.iter().filter(|name| place_of(name) == place);
        let gone: Vec<Name> = ours
            .filter(|name| !found.contains(*name))
            .cloned()
            .collect();
        for name in &gone {
            self.remove(name);
        }
        let new = found.into_iter();
        let new = new.filter(|name| place_of(name) == place && !self.names.contains(name));
        Difference {
            new: new.collect(),
            gone,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{Difference, Known, Name};
    use crate::records::place::Queue;

    fn names<const N: usize>(names: [&str; N]) -> Vec<Name> {
        names.map(|name| name.as_bytes().into()).to_vec()
    }

    fn found<const N: usize>(found: [&str; N]) -> BTreeSet<Name> {
        names(found).into_iter().collect()
    }

    const FIRST: &str = "outbox/0000000000004001";
    const SECOND: &str = "outbox/0000000000008001";
    const DEAD: &str = "outbox-dead/0000000000004001";
    const ELSEWHERE: &str = "outbox/0000000000008002";

    #[test]
    fn a_part_is_compared_with_what_is_known_of_it() {
        let mut known = Known::default();
        let place = (Queue::Outbox, 1);
        for name in [FIRST, DEAD, ELSEWHERE] {
            known.insert(name.as_bytes());
            known.insert(name.as_bytes());
        }
        assert_eq!(known.count(place), 2);
        // What is new is known only once it was read.
        for _ in 0..2 {
            let difference = known.compare(place, found([FIRST, SECOND, DEAD, "foreign"]));
            let new = names([SECOND]);
            assert_eq!(difference, Difference { new, gone: vec![] });
        }
        known.insert(SECOND.as_bytes());
        assert_eq!(known.count(place), 3);
        let difference = known.compare(place, found([SECOND]));
        let gone = names([DEAD, FIRST]);
        assert_eq!(difference, Difference { new: vec![], gone });
        assert_eq!(known.count(place), 1);
        // The slot is another node's by now.
        let difference = known.compare(place, found([]));
        assert_eq!(difference.gone, names([SECOND]));
        assert_eq!(
            (known.count(place), known.count((Queue::Outbox, 2))),
            (0, 1)
        );
        known.remove(FIRST.as_bytes());
        assert_eq!(known.count(place), 0);
    }

    #[test]
    fn names_are_listed_a_page_at_a_time() {
        let mut known = Known::default();
        for name in [SECOND, DEAD, FIRST, "event/0000000000004001"] {
            known.insert(name.as_bytes());
        }
        assert_eq!(known.page(b"outbox/", b"", 1), names([FIRST]));
        assert_eq!(known.page(b"outbox/", FIRST.as_bytes(), 9), names([SECOND]));
        assert_eq!(known.page(b"outbox/", SECOND.as_bytes(), 9), names([]));
        assert_eq!(known.page(b"outbox-dead/", b"", 9), names([DEAD]));
        assert_eq!(known.page(b"outbox/", b"", 0), names([]));
    }
}
