//! Fuel that a guest pays for the host's work.
//!
//! A unit of fuel is about one instruction of the guest; in a tight loop, a core runs some five per
//! nanosecond. By these figures a unit of host work takes about as long, so a guest cannot use more
//! of the machine through the host than with its own instructions.

/// Crossing into the host and back.
pub(crate) const CALL: u64 = 20;

/// One access to the data, besides its bytes.
pub(crate) const ACCESS: u64 = 200;

/// One command that is run by name, besides its bytes.
pub(crate) const COMMAND: u64 = 1000;

/// One line that is logged, besides its bytes.
pub(crate) const LOG: u64 = 1000;

/// A unit for this many bytes that the host reads or writes for the guest.
pub(crate) const BYTES_PER_UNIT: u64 = 8;

/// A unit for this many random bytes, which cost a system call and a cipher.
pub(crate) const RANDOM_BYTES_PER_UNIT: u64 = 1;

/// Units for `count` bytes.
#[must_use]
pub(crate) const fn bytes(count: u64) -> u64 {
    count / BYTES_PER_UNIT
}
