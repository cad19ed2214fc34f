//! The compiler's additions to a module so that it counts the units that it runs.

use serde::{Deserialize, Serialize};

use crate::depth::CodeOffsetMap;

/// Export of the fuel left of the current slice: a mutable `i64`, negative at the end of the slice.
pub const METER_FUEL_EXPORT: &str = "__ferrite_fuel";

/// Export of a table with one element, a function without parameters and results, called at the end
/// of a slice. The host sets the element before any code of the instance runs.
pub const METER_HOOK_EXPORT: &str = "__ferrite_slice_is_over";

/// Export of a start function that the host has to run, once it has filled the first slice.
pub const METER_START_EXPORT: &str = "__ferrite_metered_start";

/// The compiler's additions to a module that counts the units that it runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MeterPlan {
    /// True if the module's start function is exported as [`METER_START_EXPORT`] instead.
    pub start: bool,
    /// Code that the charges have moved: its places before and after.
    pub moves: CodeOffsetMap,
}
