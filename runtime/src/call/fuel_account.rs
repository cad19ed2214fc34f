//! One call's fuel: the slices granted to the guest, and the units charged by the host.

use wasmtime::Global;

/// Units of a slice: some hundred microseconds of computation.
///
/// A guest that has used up a slice asks the host for another. The host checks deadlines and kills
/// then, so a slice is their longest delay.
pub(crate) const SLICE_UNITS: u64 = 250_000;

/// More than any call can use; leaves room for a single charge of the host.
const MAX: u64 = i64::MAX as u64 / 2;

/// The call has used more fuel than it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OutOfFuel;

/// One call's fuel.
///
/// The guest counts down its own global, which starts with a slice. The host counts separately and
/// settles both now and then, because reading the global takes longer than most host functions
/// should.
#[derive(Debug, Default)]
pub(crate) struct FuelAccount {
    /// The guest's global; `None` before there is an instance.
    counter: Option<Global>,
    /// Units that the call may use.
    max: u64,
    /// Units of all slices so far, including the current one.
    granted: u64,
    /// Units that the host has charged since it last settled.
    host: u64,
    /// Units that the call had used at the last settlement.
    used: u64,
    /// True if the call may use a slice only; one that needs more is run again.
    first_slice_only: bool,
}

impl FuelAccount {
    /// Sets the global to count by from now on.
    pub(crate) fn attach(&mut self, counter: Global) {
        self.counter = Some(counter);
    }

    /// Removes the instance's global.
    pub(crate) fn detach(&mut self) {
        self.counter = None;
    }

    /// Returns the guest's global.
    pub(crate) fn counter(&self) -> wasmtime::Result<Global> {
        self.counter
            .ok_or_else(|| wasmtime::Error::msg("there is no instance that counts its fuel"))
    }

    /// Begins a call that may use `max` units; returns its first slice.
    pub(crate) fn begin(&mut self, max: u64) -> i64 {
        self.max = max.min(MAX);
        self.granted = self.max.min(SLICE_UNITS);
        self.host = 0;
        self.used = 0;
        self.granted.cast_signed()
    }

    /// Says if the call may use its first slice only; one that needs more is run again.
    pub(crate) fn set_first_slice_only(&mut self, only: bool) {
        self.first_slice_only = only;
    }

    /// Returns true if the call has more fuel than it may use in this try.
    pub(crate) fn has_more_than_this_try(&self) -> bool {
        self.first_slice_only && self.max > SLICE_UNITS
    }

    /// Returns the units that one command may use. The guest's own use since the last settlement,
    /// less than a slice, is not taken off: it is settled after the command.
    pub(crate) fn command_max(&self) -> u64 {
        let max = if self.first_slice_only {
            self.max.min(SLICE_UNITS)
        } else {
            self.max
        };
        max.saturating_sub(self.used).saturating_sub(self.host)
    }

    /// Charges the guest for work of the host. Returns false if both must be settled first, by
    /// [`FuelAccount::settle`].
    #[inline]
    pub(crate) fn charge(&mut self, units: u64) -> bool {
        self.host = self.host.saturating_add(units);
        self.host <= self.max.min(SLICE_UNITS)
    }

    /// Subtracts the host's charges from the guest's slice, of which `left` units are left. Returns
    /// the new rest, which may be negative.
    pub(crate) fn settle(&mut self, left: i64) -> Result<i64, OutOfFuel> {
        let host = i64::try_from(self.host).unwrap_or(i64::MAX);
        let left = left.saturating_sub(host);
        self.host = 0;
        // A settlement after one that failed does not know what the host charged before that.
        let used = self.granted.saturating_add_signed(left.saturating_neg());
        self.used = self.used.max(used);
        if self.used > self.max {
            return Err(OutOfFuel);
        }
        Ok(left)
    }

    /// Grants another slice after a settlement; returns its units.
    pub(crate) fn refill(&mut self) -> i64 {
        let slice = self.max.saturating_sub(self.used).min(SLICE_UNITS);
        self.granted = self.used + slice;
        slice.cast_signed()
    }

    /// Returns the units that the call had used at the last settlement.
    pub(crate) fn used(&self) -> u64 {
        self.used
    }
}

#[cfg(test)]
mod tests {
    use super::{FuelAccount, OutOfFuel, SLICE_UNITS};

    const SLICE: i64 = SLICE_UNITS as i64;

    #[test]
    fn slices_add_up_to_what_a_call_may_use() {
        let mut account = FuelAccount::default();
        let max = 2 * SLICE_UNITS + 10;
        assert_eq!(account.begin(max), SLICE);
        assert_eq!(account.settle(-5), Ok(-5));
        assert_eq!(account.used(), SLICE_UNITS + 5);
        assert_eq!(account.refill(), SLICE);
        assert_eq!(account.settle(-1), Ok(-1));
        assert_eq!(account.refill(), 4);
        assert_eq!(account.settle(0), Ok(0));
        assert_eq!(account.used(), max);
        assert_eq!(account.settle(-1), Err(OutOfFuel));
    }

    #[test]
    fn what_the_host_charges_comes_out_of_the_same() {
        let mut account = FuelAccount::default();
        account.begin(1000);
        assert!(account.charge(600));
        assert!(!account.charge(401), "more than there is");
        assert_eq!(account.settle(1000), Err(OutOfFuel));
        account.begin(1000);
        assert!(account.charge(600));
        assert_eq!(account.settle(300), Err(OutOfFuel));
        account.begin(u64::MAX);
        assert!(!account.charge(u64::MAX));
        assert_eq!(account.settle(SLICE), Err(OutOfFuel));
    }
}
