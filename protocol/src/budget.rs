//! The budget of one command that a function runs: work, written bytes, and bytes of the reply.
//!
//! A command charges for its work in small portions, before it does them. Once something is used up,
//! or the call is to end, every further charge fails and the command ends at once.

use std::cell::Cell;
use std::fmt;

/// Units for one element that is visited, compared, moved or copied.
pub const ELEMENT: u64 = 10;

/// Units for finding, adding or removing one element by its name or place.
pub const LOOKUP: u64 = 50;

/// Units for one command that is run by name, besides its arguments and its work.
pub const COMMAND: u64 = 1000;

/// Units for one access to a key.
pub const ACCESS: u64 = 200;

/// A unit for this many bytes that are read, compared or copied.
pub const BYTES_PER_UNIT: u64 = 8;

/// Units of work between two checks if the call is to end: some hundred microseconds.
pub const SLICE: u64 = 20_000;

/// Most nanoseconds of a unit, in a release build on a machine of today.
pub const NANOSECONDS_PER_UNIT: u64 = 10;

/// Units for `count` bytes.
#[must_use]
pub const fn bytes(count: u64) -> u64 {
    count / BYTES_PER_UNIT
}

/// Units for `count` elements.
#[must_use]
pub const fn elements(count: usize) -> u64 {
    (count as u64).saturating_mul(ELEMENT)
}

/// Units for finding, adding or removing `count` elements.
#[must_use]
pub const fn lookups(count: usize) -> u64 {
    (count as u64).saturating_mul(LOOKUP)
}

/// Reason why a command ended before it was through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Exceeded {
    /// It needs more work than it may use.
    #[error("the command needs more fuel than the function has left")]
    Work,
    /// The call is to end: it was killed, or its time is over.
    #[error("the call is to end")]
    Stopped,
    /// It writes more bytes than it may.
    #[error("the command writes more bytes than the function may")]
    Written,
    /// Its reply is longer than it may be.
    #[error("the command's reply is longer than the function can take")]
    Reply,
}

/// The most that a command may use.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Units of work.
    pub work_max: u64,
    /// Bytes of keys and values that it writes.
    pub written_bytes_max: u64,
    /// Bytes of its reply.
    pub reply_bytes_max: usize,
}

/// The budget of one command.
///
/// ```
/// use ferrite_protocol::budget::{Bounds, Budget, Exceeded};
/// let bounds = Bounds { work_max: 100, written_bytes_max: 10, reply_bytes_max: 10 };
/// let budget = Budget::new(bounds, &|| false);
/// assert_eq!(budget.charge(60), Ok(()));
/// assert_eq!(budget.charge(60), Err(Exceeded::Work));
/// assert_eq!(budget.charge(1), Err(Exceeded::Work));
/// ```
pub struct Budget<'a> {
    bounds: Bounds,
    /// Units left of the present slice.
    slice: Cell<u64>,
    /// Units left after it.
    rest: Cell<u64>,
    written: Cell<u64>,
    exceeded: Cell<Option<Exceeded>>,
    changed: Cell<bool>,
    must_stop: &'a dyn Fn() -> bool,
}

impl fmt::Debug for Budget<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Budget")
            .field("bounds", &self.bounds)
            .field("work", &self.work())
            .field("written", &self.written.get())
            .field("exceeded", &self.exceeded.get())
            .finish_non_exhaustive()
    }
}

impl<'a> Budget<'a> {
    /// Returns a budget of which nothing is used. `must_stop` is asked after each slice of work; it
    /// returns true if the command must end.
    #[must_use]
    pub fn new(bounds: Bounds, must_stop: &'a dyn Fn() -> bool) -> Self {
        let slice = bounds.work_max.min(SLICE);
        Self {
            bounds,
            slice: Cell::new(slice),
            rest: Cell::new(bounds.work_max - slice),
            written: Cell::new(0),
            exceeded: Cell::new(None),
            changed: Cell::new(false),
            must_stop,
        }
    }

    /// Takes units for work that is about to be done.
    ///
    /// # Errors
    ///
    /// The reason why the command must end. All later charges fail for the same reason.
    #[inline]
    pub fn charge(&self, units: u64) -> Result<(), Exceeded> {
        match self.slice.get().checked_sub(units) {
            Some(left) => {
                self.slice.set(left);
                Ok(())
            }
            None => self.next_slice(units),
        }
    }

    /// Counts bytes that are about to be written.
    ///
    /// # Errors
    ///
    /// As [`Budget::charge`].
    pub fn count_written(&self, count: u64) -> Result<(), Exceeded> {
        let written = self.written.get().saturating_add(count);
        if written > self.bounds.written_bytes_max {
            return Err(self.exceed(Exceeded::Written));
        }
        self.written.set(written);
        Ok(())
    }

    /// Ends the command for this reason, unless it has ended before.
    #[cold]
    pub fn exceed(&self, reason: Exceeded) -> Exceeded {
        let first = self.exceeded.get().unwrap_or(reason);
        self.exceeded.set(Some(first));
        // So that no later charge succeeds.
        self.rest.set(self.rest.get() + self.slice.replace(0));
        first
    }

    #[cold]
    fn next_slice(&self, units: u64) -> Result<(), Exceeded> {
        if let Some(reason) = self.exceeded.get() {
            return Err(reason);
        }
        if (self.must_stop)() {
            return Err(self.exceed(Exceeded::Stopped));
        }
        let left = self.slice.get() + self.rest.get();
        let Some(left) = left.checked_sub(units) else {
            self.rest.set(0);
            self.slice.set(0);
            return Err(self.exceed(Exceeded::Work));
        };
        let slice = left.min(SLICE);
        self.slice.set(slice);
        self.rest.set(left - slice);
        Ok(())
    }

    /// Returns the units that were taken so far.
    #[must_use]
    pub fn work(&self) -> u64 {
        self.bounds.work_max - self.slice.get() - self.rest.get()
    }

    /// Returns the bytes that were written so far.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.written.get()
    }

    /// Returns the bounds.
    #[must_use]
    pub fn bounds(&self) -> Bounds {
        self.bounds
    }

    /// Notes that the command changes something now: if it ends later for a reason of its budget,
    /// only a part of it was done.
    pub fn note_change(&self) {
        self.changed.set(true);
    }

    /// Returns true if the command has changed something.
    #[must_use]
    pub fn has_changed(&self) -> bool {
        self.changed.get()
    }

    /// Returns the reason why the command must end, if there is one.
    #[inline]
    #[must_use]
    pub fn exceeded(&self) -> Option<Exceeded> {
        self.exceeded.get()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::{Bounds, Budget, Exceeded, SLICE};

    const WORK: u64 = 10 * SLICE;

    fn bounds() -> Bounds {
        Bounds {
            work_max: WORK,
            written_bytes_max: 100,
            reply_bytes_max: 100,
        }
    }

    #[test]
    fn it_asks_after_each_slice_if_the_call_is_to_end() {
        let asked = Cell::new(0);
        let ask = || {
            asked.set(asked.get() + 1);
            asked.get() == 3
        };
        let budget = Budget::new(bounds(), &ask);
        let mut charged = 0;
        while budget.charge(100).is_ok() {
            charged += 100;
            assert_eq!(budget.work(), charged);
        }
        // The charge that asks counts towards none of the slices.
        assert_eq!((asked.get(), charged), (3, 3 * SLICE + 2 * 100));
        assert_eq!(budget.exceeded(), Some(Exceeded::Stopped));
        assert_eq!(budget.charge(1), Err(Exceeded::Stopped));
        assert_eq!(budget.work(), charged);
    }

    #[test]
    fn the_first_reason_stays() {
        let budget = Budget::new(bounds(), &|| false);
        assert_eq!(budget.count_written(100), Ok(()));
        assert_eq!(budget.count_written(1), Err(Exceeded::Written));
        assert_eq!(budget.charge(WORK + 1), Err(Exceeded::Written));
        assert_eq!(budget.written(), 100);
        assert_eq!(budget.work(), 0);
    }

    #[test]
    fn all_of_it_can_be_used_and_no_more() {
        let budget = Budget::new(bounds(), &|| false);
        assert_eq!(budget.charge(WORK - 1), Ok(()));
        assert_eq!(budget.charge(1), Ok(()));
        assert_eq!(budget.work(), WORK);
        assert_eq!(budget.charge(1), Err(Exceeded::Work));
        assert_eq!(budget.work(), WORK);
    }
}
