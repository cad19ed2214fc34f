//! Writes the code of charges.

use wasm_encoder::{BranchHint, Function, InstructionSink};

use super::pay::Charge;
use super::ranges::Ranges;
use super::steps::{RangeAt, Steps};
use super::{Added, pay};

/// A function's body, without its size.
pub(super) struct Body {
    pub(super) bytes: Vec<u8>,
    /// (offset in the source, offset in `bytes`) at each place after which the distance may differ;
    /// the first is the body's own.
    pub(super) places: Vec<(usize, usize)>,
    /// Offsets in `bytes` of branches to calls of the host.
    rare_branches: Vec<u32>,
}

impl Body {
    /// Returns hints that the calls of the host are rare, so that their native code stands aside. A body has at most
    /// 4 GiB.
    pub(super) fn hints(&self) -> impl ExactSizeIterator<Item = BranchHint> + '_ {
        self.rare_branches.iter().map(|&at| BranchHint {
            branch_func_offset: at,
            branch_hint_value: 0,
        })
    }
}

/// Adds a function's charges to its body.
pub(super) fn metered(
    steps: &Steps<'_>,
    charges: &[Charge],
    added: Added,
    ranges: &mut Ranges,
) -> Body {
    let bytes = steps.body.as_bytes();
    let start = steps.body.range().start;
    let mut out = Vec::with_capacity(bytes.len() + 16 * charges.len());
    let mut places = vec![(start, 0)];
    let mut rare_branches = Vec::new();
    let mut copied = start;
    let mut charges = charges.iter().peekable();
    let mut instructions = steps.ranges.iter().peekable();
    loop {
        // A charge stands before the instruction.
        let range = instructions
            .peek()
            .map_or(usize::MAX, |range| range.at.start);
        if let Some(&charge) = charges.next_if(|charge| charge.at <= range) {
            out.extend_from_slice(&bytes[copied - start..charge.at - start]);
            copied = charge.at;
            if charge.units > 0 {
                pay::constant(&mut InstructionSink::new(&mut out), added, charge.units);
            }
            if charge.looks {
                pay::is_negative(&mut InstructionSink::new(&mut out), added);
                rare_branches.push(out.len() as u32);
                pay::call_if(&mut InstructionSink::new(&mut out), added);
            }
            places.push((charge.at, out.len()));
        } else if let Some(RangeAt { kind, at }) = instructions.next() {
            out.extend_from_slice(&bytes[copied - start..at.start - start]);
            // A trap inside the function is reported at this call.
            places.push((at.start, out.len()));
            InstructionSink::new(&mut out).call(ranges.function(*kind));
            copied = at.end;
            places.push((copied, out.len()));
        } else {
            break;
        }
    }
    out.extend_from_slice(&bytes[copied - start..]);
    Body {
        bytes: out,
        places,
        rare_branches,
    }
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
