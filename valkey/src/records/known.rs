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
    /// The same names by their part of the data, so that a part is compared without a look at the others.
    by_place: HashMap<Place, BTreeSet<Name>>,
    /// Number of names that comparisons have looked at.
    #[cfg(test)]
    looked_at: usize,
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
            let part = self.by_place.entry(place_of(name)).or_default();
            part.insert(name.into());
        }
    }

    pub(crate) fn remove(&mut self, name: &[u8]) {
        if !self.names.remove(name) {
            return;
        }
        let place = place_of(name);
        if let Some(part) = self.by_place.get_mut(&place) {
            part.remove(name);
            if part.is_empty() {
                self.by_place.remove(&place);
            }
        }
    }

    /// Number of names in a part of the data.
    pub(crate) fn count(&self, place: Place) -> usize {
        self.by_place.get(&place).map_or(0, BTreeSet::len)
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
        let ours = self.by_place.get(&place);
        #[cfg(test)]
        {
            self.looked_at += ours.map_or(0, BTreeSet::len) + found.len();
        }
        let gone = ours.into_iter().flat_map(|ours| ours.difference(&found));
        let gone: Vec<Name> = gone.cloned().collect();
        for name in &gone {
            self.remove(name);
        }
        let ours = self.by_place.get(&place);
        let is_known = |name: &Name| ours.is_some_and(|ours| ours.contains(name));
        let new = found.into_iter();
        let new = new.filter(|name| place_of(name) == place && !is_known(name));
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

    /// A range of slots leaves while very many events wait in others.
    #[test]
    fn a_comparison_looks_at_the_names_of_its_part_alone() {
        const PARTS: u16 = 100;
        let mut known = Known::default();
        let name = |number: u64| format!("event/{number:016x}");
        let numbers = (0..100_000).map(|number: u64| (number << 14) | (number % u64::from(PARTS)));
        for number in numbers {
            known.insert(name(number).as_bytes());
        }
        for part in 0..10 {
            let difference = known.compare((Queue::Events, part), BTreeSet::new());
            assert_eq!((difference.gone.len(), difference.new.len()), (1000, 0));
        }
        assert_eq!(known.looked_at, 10 * 1000);
        let came = name(u64::from(PARTS)).into_bytes().into_boxed_slice();
        let difference = known.compare((Queue::Events, PARTS), BTreeSet::from([came.clone()]));
        assert_eq!(difference.new, [came]);
        assert_eq!(known.looked_at, 10 * 1000 + 1);
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
