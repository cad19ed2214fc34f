//! Numbers of events, and of requests of the outbox: in the order in which they came, and different from
//! those of earlier processes.
//!
//! The last 14 bits are the part of the data that the event or request belongs to. What stands before them is
//! counted up and is never behind the time, in 512ths of a millisecond since 2020. Until 2054, numbers fit
//! into 63 bits.

use std::sync::atomic::{AtomicU64, Ordering};

use ferrite_protocol::events::PARTITIONS;

use crate::automation::clock::now_millis;

/// The start of 2020, in milliseconds since 1970.
const START_MILLIS: i64 = 1_577_836_800_000;

/// Counts in a millisecond.
const PER_MILLI: u64 = 1 << 9;

/// Makes the numbers of events or requests.
#[derive(Debug)]
pub(crate) struct Numbers(AtomicU64);

impl Numbers {
    pub(crate) fn new() -> Self {
        Self(AtomicU64::new(count_now()))
    }

    /// Returns the next number, of this part of the data: greater than all before, and than
    /// those that other processes have given so far.
    pub(crate) fn next(&self, partition: u16) -> u64 {
        self.0.fetch_max(count_now(), Ordering::Relaxed);
        let count = self.0.fetch_add(1, Ordering::Relaxed);
        count * u64::from(PARTITIONS) + u64::from(partition % PARTITIONS)
    }

    /// Lets later numbers be greater than one that was given by another process.
    pub(crate) fn note(&self, number: u64) {
        let count = number / u64::from(PARTITIONS);
        self.0.fetch_max(count + 1, Ordering::Relaxed);
    }
}

/// Returns the part of the data that is in a number.
pub(crate) fn partition_of(number: u64) -> u16 {
    (number % u64::from(PARTITIONS)) as u16
}

fn count_now() -> u64 {
    let since = now_millis().saturating_sub(START_MILLIS).max(0);
    since.unsigned_abs() * PER_MILLI
}

#[cfg(test)]
mod tests {
    use super::{Numbers, partition_of};

    #[test]
    fn numbers_rise_and_carry_their_part() {
        let numbers = Numbers::new();
        let first = numbers.next(16_383);
        let second = numbers.next(0);
        assert!(second > first);
        assert_eq!((partition_of(first), partition_of(second)), (16_383, 0));
        numbers.note(second + (1 << 40));
        let third = numbers.next(7);
        assert!(third > second + (1 << 40));
        numbers.note(1);
        assert!(numbers.next(7) > third);
        let later = Numbers::new();
        assert!(later.next(16_383) >= first, "of a later process");
    }
}
