//! The instructions that pay.

use wasm_encoder::{BlockType, InstructionSink};

use super::Added;

/// The payment and the look before an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Charge {
    /// Offset of the instruction in the source.
    pub(super) at: usize,
    /// Units that it pays; may be 0.
    pub(super) units: u64,
    /// True if the host is called when the fuel is negative then.
    pub(super) looks: bool,
}

/// Pays a constant number of units.
///
/// If it is not followed by a look, Cranelift makes a single instruction of it on x86-64.
pub(super) fn constant(code: &mut InstructionSink<'_>, added: Added, units: u64) {
    code.global_get(added.fuel)
        .i64_const(i64::try_from(units).unwrap_or(i64::MAX))
        .i64_sub()
        .global_set(added.fuel);
}

/// Takes the new amount of fuel off the stack, and calls the host if it is negative.
pub(super) fn settle(code: &mut InstructionSink<'_>, added: Added) {
    code.global_set(added.fuel);
    is_negative(code, added);
    call_if(code, added);
}

/// Puts on the stack if the fuel is negative.
pub(super) fn is_negative(code: &mut InstructionSink<'_>, added: Added) {
    code.global_get(added.fuel).i64_const(0).i64_lt_s();
}

/// Calls the host if the condition on the stack holds. The first instruction is the branch.
pub(super) fn call_if(code: &mut InstructionSink<'_>, added: Added) {
    code.if_(BlockType::Empty).call(added.slice_is_over).end();
}
