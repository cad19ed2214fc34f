//! The instructions that pay.

use wasm_encoder::{BlockType, InstructionSink};

use super::Added;

/// Pays a constant number of units.
pub(super) fn constant(code: &mut InstructionSink<'_>, added: Added, units: u64) {
    code.global_get(added.fuel)
        .i64_const(i64::try_from(units).unwrap_or(i64::MAX))
        .i64_sub();
    settle(code, added);
}

/// Takes the new amount of fuel off the stack, and calls the host if it is negative.
pub(super) fn settle(code: &mut InstructionSink<'_>, added: Added) {
    code.global_set(added.fuel)
        .global_get(added.fuel)
        .i64_const(0)
        .i64_lt_s()
        .if_(BlockType::Empty)
        .call(added.slice_is_over)
        .end();
}
