//! The instructions of a function that the meter's decisions rest on, read once.

use std::ops::Range;

use wasmparser::{FunctionBody, Operator};

use super::MeterError;
use super::ranges::RangeKind;

/// Units of instructions without an effect on control flow, at most, that one step sums up.
const PLAIN_MAX: u32 = 1 << 10;

/// A function's instructions.
#[derive(Debug)]
pub(super) struct Steps<'a> {
    /// The body in the source.
    pub(super) body: FunctionBody<'a>,
    /// Offset of the first instruction in the source.
    pub(super) start: usize,
    /// Empty once the charges are decided.
    pub(super) list: Vec<Step>,
    /// Depths of all `br_table`.
    depths: Vec<u32>,
    /// Instructions on ranges, in the order of the code.
    pub(super) ranges: Vec<RangeAt>,
    /// Functions that it refers to.
    pub(super) references: Vec<u32>,
}

/// Instructions that run one after the other, the last of which may lead elsewhere.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    pub(super) units: u32,
    pub(super) last: Last,
    /// Offset in the source after the last one.
    pub(super) next: usize,
}

/// The effect of a step's last instruction on control flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Last {
    /// None.
    Plain,
    Block,
    Loop,
    If,
    Else,
    End,
    Branch(u32),
    BranchIf(u32),
    /// Branches to one of these depths, which [`Steps::depths`] returns.
    BranchTable {
        from: u32,
        to: u32,
    },
    Return,
    Unreachable,
    /// Calls the function of this index.
    Call(u32),
    /// Calls a reference to a function of this type.
    CallReference(u32),
}

/// An instruction on a range.
#[derive(Clone, Debug)]
pub(super) struct RangeAt {
    pub(super) kind: RangeKind,
    /// Its offsets in the source.
    pub(super) at: Range<usize>,
}

impl<'a> Steps<'a> {
    /// Reads a valid function.
    pub(super) fn read(body: FunctionBody<'a>) -> Result<Self, MeterError> {
        let mut operators = body.get_operators_reader()?;
        let start = operators.original_position();
        let mut steps = Self {
            body,
            start,
            list: Vec::new(),
            depths: Vec::new(),
            ranges: Vec::new(),
            references: Vec::new(),
        };
        let mut at = start;
        let mut sum = 0;
        while !operators.eof() {
            let operator = operators.read()?;
            let next = operators.original_position();
            let last = steps.last(&operator, at..next)?;
            at = next;
            sum += units(&operator);
            if last != Last::Plain || sum >= PLAIN_MAX {
                steps.list.push(Step {
                    units: std::mem::take(&mut sum),
                    last,
                    next,
                });
            }
        }
        steps.list.shrink_to_fit();
        Ok(steps)
    }

    /// Returns the depths that a `br_table` may branch to.
    pub(super) fn depths(&self, from: u32, to: u32) -> &[u32] {
        &self.depths[from as usize..to as usize]
    }

    fn last(&mut self, operator: &Operator<'_>, at: Range<usize>) -> Result<Last, MeterError> {
        Ok(match *operator {
            Operator::Block { .. } => Last::Block,
            Operator::Loop { .. } => Last::Loop,
            Operator::If { .. } => Last::If,
            Operator::Else => Last::Else,
            Operator::End => Last::End,
            Operator::Br { relative_depth } => Last::Branch(relative_depth),
            Operator::BrIf { relative_depth }
            | Operator::BrOnNull { relative_depth }
            | Operator::BrOnNonNull { relative_depth }
            | Operator::BrOnCast { relative_depth, .. }
            | Operator::BrOnCastFail { relative_depth, .. } => Last::BranchIf(relative_depth),
            Operator::BrTable { ref targets } => {
                let from = self.depths.len() as u32;
                for depth in targets.targets() {
                    self.depths.push(depth?);
                }
                self.depths.push(targets.default());
                let to = self.depths.len() as u32;
                Last::BranchTable { from, to }
            }
            Operator::Return => Last::Return,
            Operator::Unreachable => Last::Unreachable,
            Operator::Call { function_index } => Last::Call(function_index),
            Operator::CallIndirect { type_index, .. } | Operator::CallRef { type_index } => {
                Last::CallReference(type_index)
            }
            Operator::ReturnCall { .. }
            | Operator::ReturnCallIndirect { .. }
            | Operator::ReturnCallRef { .. } => {
                return Err(MeterError::Unknown { what: "tail calls" });
            }
            Operator::TryTable { .. } | Operator::Try { .. } => {
                return Err(MeterError::Unknown { what: "exceptions" });
            }
            Operator::RefFunc { function_index } => {
                self.references.push(function_index);
                Last::Plain
            }
            ref other => {
                if let Some(kind) = RangeKind::of(other) {
                    self.ranges.push(RangeAt { kind, at });
                }
                Last::Plain
            }
        })
    }
}

/// Returns the units of an instruction.
fn units(operator: &Operator<'_>) -> u32 {
    match operator {
        Operator::Nop
        | Operator::Block { .. }
        | Operator::Loop { .. }
        | Operator::Else
        | Operator::End
        | Operator::Drop
        | Operator::Unreachable
        | Operator::Return => 0,
        _ => 1,
    }
}
