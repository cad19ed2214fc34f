//! The instructions that pay.

use wasm_encoder::{BlockType, InstructionSink};

use super::Added;
use super::regions::Charge;

/// Pays a constant number of units, and calls the host if `checked` and the fuel is negative then.
///
/// Without the check, Cranelift makes a single instruction of it on x86-64.
pub(super) fn constant(
    code: &mut InstructionSink<'_>,
    added: Added,
    Charge { units, checked, .. }: Charge,
) {
    code.global_get(added.fuel)
        .i64_const(i64::try_from(units).unwrap_or(i64::MAX))
        .i64_sub();
    if checked {
        settle(code, added);
    } else {
        code.global_set(added.fuel);
    }
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
