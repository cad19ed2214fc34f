//! What the compiler put into a module so that it counts what it runs.

use serde::{Deserialize, Serialize};

use crate::depth::CodeOffsetMap;

/// The export that holds the fuel left of the current slice: a mutable `i64`, negative once the slice
/// is over.
pub const METER_FUEL_EXPORT: &str = "__ferrite_fuel";

/// The export of a table whose one element, a function without parameters and results, is called when
/// the slice is over. The host puts it there before any code of the instance runs.
pub const METER_HOOK_EXPORT: &str = "__ferrite_slice_is_over";

/// The export of a start function that the host has to run, once it has filled the first slice.
pub const METER_START_EXPORT: &str = "__ferrite_metered_start";

/// What the compiler put into a module that counts what it runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MeterPlan {
    /// Whether the module has a start function that is exported as [`METER_START_EXPORT`] instead.
    pub start: bool,
    /// Where code stands elsewhere than before the charges were put in.
    pub moves: CodeOffsetMap,
}
