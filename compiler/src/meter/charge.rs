//! Writes the code of charges.

use wasm_encoder::{Function, InstructionSink};
use wasmparser::FunctionBody;

use super::plan::Plan;
use super::ranges::Ranges;
use super::{Added, MeterError, pay, regions};

/// A function's body, without its size.
pub(super) struct Body {
    pub(super) bytes: Vec<u8>,
    /// (offset in the source, offset in `bytes`) at each place after which the distance may differ;
    /// the first is the body's own.
    pub(super) places: Vec<(usize, usize)>,
}

/// Adds charges to the body at `place` of the code section.
pub(super) fn metered(
    body: &FunctionBody<'_>,
    plan: &Plan,
    place: usize,
    added: Added,
    ranges: &mut Ranges,
) -> Result<Body, MeterError> {
    let charges = if plan.pays_for_itself(place) {
        regions::charges(body, plan.checks_at_entry(place), |function| {
            plan.callee(function)
        })?
    } else {
        Vec::new()
    };
    let bytes = body.as_bytes();
    let start = body.range().start;
    let mut out = Vec::with_capacity(bytes.len() + 16 * charges.len());
    let mut places = vec![(start, 0)];
    let mut copied = start;
    let mut charges = charges.into_iter().peekable();
    let mut operators = body.get_operators_reader()?;
    while !operators.eof() {
        let (operator, at) = operators.read_with_offset()?;
        while let Some(charge) = charges.next_if(|charge| charge.at == at) {
            out.extend_from_slice(&bytes[copied - start..at - start]);
            copied = at;
            pay::constant(&mut InstructionSink::new(&mut out), added, charge);
            places.push((at, out.len()));
        }
        if let Some(function) = ranges.instead_of(&operator) {
            out.extend_from_slice(&bytes[copied - start..at - start]);
            // A trap inside the function is reported at this call.
            places.push((at, out.len()));
            InstructionSink::new(&mut out).call(function);
            copied = operators.original_position();
            places.push((copied, out.len()));
        }
    }
    out.extend_from_slice(&bytes[copied - start..]);
    Ok(Body { bytes: out, places })
}

/// Returns the function that calls the host: out of line, so that a charge stays short.
pub(super) fn slice_is_over(table: u32, hook_type: u32) -> Function {
    let mut function = Function::new([]);
    function
        .instructions()
        .i32_const(0)
        .call_indirect(table, hook_type)
        .end();
    function
}
