//! Fuel that a guest pays for the host's work.
//!
//! A unit of fuel is about one instruction of the guest; in a tight loop, a core runs some five per
//! nanosecond. By these figures a unit of host work takes about as long, so a guest cannot use more
//! of the machine through the host than with its own instructions.

/// Crossing into the host and back.
pub(crate) const CALL: u64 = 20;

pub(crate) use ferrite_protocol::budget::{ACCESS, COMMAND, bytes};

/// One line that is logged, besides its bytes.
pub(crate) const LOG: u64 = 1000;

/// An HTTP request, besides its bytes: some twenty microseconds of this machine, and much more of
/// others.
pub(crate) const REQUEST: u64 = 100_000;

/// A unit for this many random bytes, which cost a system call and a cipher.
pub(crate) const RANDOM_BYTES_PER_UNIT: u64 = 1;
