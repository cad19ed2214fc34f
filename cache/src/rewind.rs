//! Whether instances of a module may be rewound, as the compiler decided it.

use serde::{Deserialize, Serialize};

/// Which modules the compiler's rewriting makes: part of every profile, so that an artifact is run
/// only by a host that knows what was put into it.
pub const REWRITING_VERSION: u32 = 1;

/// Whether instances of a module may be rewound between calls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rewind {
    /// They may, in this way.
    Allowed(RewindPlan),
    /// They may not; every call gets an instance of its own.
    Refused {
        /// What about the module stands in the way, to follow "because".
        reason: String,
    },
}

/// What the compiler put into a module so that the host can rewind it.
///
/// The artifact exports the memory as `__ferrite_memory`, if there is one, and the mutable globals
/// as `__ferrite_global_0` and so on. A module that grows its memory also exports, as mutable `i32` globals, `__ferrite_pages` (pages that the guest
/// sees), `__ferrite_pages_max` (pages it may have, which the host lowers to the memory limit) and
/// `__ferrite_pages_refused` (pages that a refused growth asked for, or 0).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RewindPlan {
    /// How many of the module's own globals are mutable.
    pub globals: u32,
    /// Pages of 64 KiB that the memory has more than the guest sees at first.
    pub headroom_pages: u64,
    /// Whether the module can grow its memory.
    pub grows: bool,
    /// Whether the module has a start function. It is exported as `__ferrite_start`, and the host
    /// runs it once for all instances.
    pub start: bool,
    /// Where code offsets of the artifact differ from those of the source; in rising order.
    pub offsets: Vec<OffsetShift>,
}

/// From an offset on, the code stands elsewhere than in the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OffsetShift {
    /// First offset in the compiled module that this holds for.
    pub from: u64,
    /// What to add for the offset in the source.
    pub back: i64,
}

impl RewindPlan {
    /// The offset in the source of an offset in the compiled module.
    #[must_use]
    pub fn source_offset(&self, compiled: u64) -> u64 {
        let next = self.offsets.partition_point(|shift| shift.from <= compiled);
        match next
            .checked_sub(1)
            .and_then(|index| self.offsets.get(index))
        {
            Some(shift) => compiled.saturating_add_signed(shift.back),
            None => compiled,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{OffsetShift, RewindPlan};

    #[test]
    fn offsets_shift_from_their_place_on() {
        let plan = RewindPlan {
            globals: 1,
            headroom_pages: 0,
            grows: false,
            start: false,
            offsets: vec![
                OffsetShift {
                    from: 100,
                    back: -10,
                },
                OffsetShift {
                    from: 200,
                    back: -11,
                },
            ],
        };
        for (compiled, source) in [
            (0, 0),
            (99, 99),
            (100, 90),
            (199, 189),
            (200, 189),
            (300, 289),
        ] {
            assert_eq!(plan.source_offset(compiled), source, "{compiled}");
        }
    }
}
