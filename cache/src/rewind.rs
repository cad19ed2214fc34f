//! The compiler's decision if instances of a module may be rewound, and what the host needs for it.

use serde::{Deserialize, Serialize};

/// Version of the compiler's rewriting. It is part of every profile, so that only a host that knows
/// the rewriting runs the artifact.
pub const REWRITING_VERSION: u32 = 2;

/// The decision if instances of a module may be rewound between calls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rewind {
    /// Instances may be rewound, by this plan.
    Allowed(RewindPlan),
    /// Instances may not be rewound; every call gets a fresh one.
    Refused {
        /// The obstacle, worded to follow "because".
        reason: String,
    },
}

/// Describes what the compiler added to a module so that the host can rewind it.
///
/// The artifact exports the memory, if there is one, as `__ferrite_memory`, and the mutable globals
/// as `__ferrite_global_0` and so on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RewindPlan {
    /// Number of mutable globals that the module defines.
    pub globals: u32,
    /// True if the module has a start function. It is exported as `__ferrite_start`, and the host
    /// runs it once for all instances.
    pub start: bool,
    /// Ranges where code offsets of the artifact differ from those of the source, in rising order.
    pub offsets: Vec<OffsetShift>,
}

/// The distance between code offsets of the artifact and of the source, from one offset on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OffsetShift {
    /// First offset in the compiled module to which this distance applies.
    pub from: u64,
    /// Added to an offset, this gives the offset in the source.
    pub back: i64,
}

impl RewindPlan {
    /// Converts an offset in the compiled module to one in the source.
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
