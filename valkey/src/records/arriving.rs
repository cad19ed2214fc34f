//! Slots that come to this node as a whole: by `CLUSTER MIGRATESLOTS` of Valkey 9.
//!
//! Until such a slot has come, its keys are here and no client sees them. What happens to them here has happened
//! on the node that has the slot, or is the server removing them because the move failed. So it causes no events.

use std::ops::RangeInclusive;

use crate::api::context::Context;
use crate::api::locked_cell::LockedCell;
use crate::records::slot::{self, SLOTS};

static ARRIVING: LockedCell<Option<Box<SlotSet>>> = LockedCell::new(None);

/// Notes slots that begin to come.
pub(crate) fn begin(context: Context<'_>, slots: &[RangeInclusive<u16>]) {
    ARRIVING.with(context, |arriving| {
        let arriving = arriving.get_or_insert_default();
        slots.iter().cloned().for_each(|range| arriving.add(range));
    });
}

/// Notes that slots have come, or do not come.
pub(crate) fn end(context: Context<'_>, slots: &[RangeInclusive<u16>]) {
    ARRIVING.with(context, |known| {
        let Some(arriving) = known else { return };
        slots
            .iter()
            .cloned()
            .for_each(|range| arriving.remove(range));
        if arriving.count == 0 {
            *known = None;
        }
    });
}

/// Returns true if a key is in a slot that comes.
pub(crate) fn has(context: Context<'_>, key: &[u8]) -> bool {
    ARRIVING.with(context, |arriving| {
        arriving
            .as_ref()
            .is_some_and(|arriving| arriving.has(slot::of(key)))
    })
}

/// Some of the slots of a cluster.
struct SlotSet {
    /// True for each that is in it.
    slots: Vec<bool>,
    count: usize,
}

impl Default for SlotSet {
    fn default() -> Self {
        Self {
            slots: vec![false; usize::from(SLOTS)],
            count: 0,
        }
    }
}

impl SlotSet {
    fn add(&mut self, range: RangeInclusive<u16>) {
        self.set(range, true);
    }

    fn remove(&mut self, range: RangeInclusive<u16>) {
        self.set(range, false);
    }

    fn set(&mut self, range: RangeInclusive<u16>, is_in: bool) {
        for slot in range {
            let Some(known) = self.slots.get_mut(usize::from(slot)) else {
                return;
            };
            if std::mem::replace(known, is_in) != is_in {
                self.count = if is_in {
                    self.count + 1
                } else {
                    self.count - 1
                };
            }
        }
    }

    fn has(&self, slot: u16) -> bool {
        self.slots.get(usize::from(slot)) == Some(&true)
    }
}

#[cfg(test)]
mod tests {
    use super::{SLOTS, SlotSet};

    #[test]
    fn slots_are_added_and_removed() {
        let mut set = SlotSet::default();
        set.add(5..=7);
        set.add(7..=9);
        assert_eq!(set.count, 5);
        assert!(set.has(5) && set.has(9) && !set.has(10) && !set.has(SLOTS));
        set.remove(0..=7);
        assert_eq!(set.count, 2);
        assert!(!set.has(7) && set.has(8));
        set.remove(8..=u16::MAX);
        assert_eq!(set.count, 0);
        set.add(SLOTS - 1..=u16::MAX);
        assert_eq!(set.count, 1);
    }
}
