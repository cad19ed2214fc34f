//! Places at which one function pays.
//!
//! The code is cut into regions: each runs from start to end or not at all, except for traps. Each
//! except the first knows the region that always runs before it and after which it runs at most
//! once. Cheap regions are paid there.

use wasmparser::{Error, FunctionBody, Operator};

/// Units that a charge may pay ahead for code that may not run; or as many as the charge's own, if
/// those are more.
const AHEAD: u64 = 16;

/// Units for entering a function, besides its instructions.
pub(super) const ENTRY: u64 = 1;

/// Returns the units of an instruction.
pub(super) fn units(operator: &Operator<'_>) -> u64 {
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

/// Returns the depth that an instruction branches to under a condition.
pub(super) fn conditional_branch(operator: &Operator<'_>) -> Option<u32> {
    match *operator {
        Operator::BrIf { relative_depth }
        | Operator::BrOnNull { relative_depth }
        | Operator::BrOnNonNull { relative_depth }
        | Operator::BrOnCast { relative_depth, .. }
        | Operator::BrOnCastFail { relative_depth, .. } => Some(relative_depth),
        _ => None,
    }
}

/// A region of code.
#[derive(Debug)]
struct Region {
    /// Offset of its first instruction in the source.
    at: usize,
    units: u64,
    /// The region that runs before this one and after which it runs at most once; `None` for the
    /// function's first.
    after: Option<usize>,
    /// True if a loop begins here.
    head: bool,
}

/// A charge: units to pay before the instruction at an offset of the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Charge {
    pub(super) at: usize,
    pub(super) units: u64,
}

/// An open block.
struct Frame {
    kind: Kind,
    /// The region in which it was opened; `None` if that never runs.
    opened: Option<usize>,
    /// True if a branch leads to its end.
    reached: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Block,
    Loop,
    If,
}

/// Returns a function's charges, in the order of the code.
///
/// `callee` returns the cost of a called function, besides the call itself.
pub(super) fn charges(
    body: &FunctionBody<'_>,
    callee: impl Fn(u32) -> u64,
) -> Result<Vec<Charge>, Error> {
    Ok(place(&cut(body, callee)?))
}

fn cut(body: &FunctionBody<'_>, callee: impl Fn(u32) -> u64) -> Result<Vec<Region>, Error> {
    let mut operators = body.get_operators_reader()?;
    let mut regions = vec![Region {
        at: operators.original_position(),
        units: ENTRY,
        after: None,
        head: false,
    }];
    let mut frames = vec![Frame {
        kind: Kind::Block,
        opened: Some(0),
        reached: false,
    }];
    let mut now = Some(0);
    while !operators.eof() {
        let operator = operators.read()?;
        let next = operators.original_position();
        if let Some(now) = now {
            let region: &mut Region = &mut regions[now];
            region.units += units(&operator);
            if let Operator::Call { function_index } = operator {
                region.units = region.units.saturating_add(callee(function_index));
            }
        }
        let mut begin = |after: Option<usize>, head: bool| {
            after.map(|after| {
                regions.push(Region {
                    at: next,
                    units: 0,
                    after: Some(after),
                    head,
                });
                regions.len() - 1
            })
        };
        let mut branch = |depth: u32| {
            let at = frames.len().checked_sub(1 + depth as usize);
            if let Some(frame) = at.and_then(|at| frames.get_mut(at)) {
                frame.reached = true;
            }
        };
        match operator {
            Operator::Block { .. } => frames.push(Frame {
                kind: Kind::Block,
                opened: now,
                reached: false,
            }),
            Operator::Loop { .. } => {
                frames.push(Frame {
                    kind: Kind::Loop,
                    opened: now,
                    reached: false,
                });
                now = begin(now, true);
            }
            Operator::If { .. } => {
                frames.push(Frame {
                    kind: Kind::If,
                    opened: now,
                    reached: false,
                });
                now = begin(now, false);
            }
            Operator::Else => now = begin(frames.last().and_then(|frame| frame.opened), false),
            Operator::End => {
                if let Some(frame) = frames.pop() {
                    now = match frame.kind {
                        // Reached only by falling through: its label is its head.
                        Kind::Loop => now.and(begin(frame.opened, false)),
                        // Reached after one of the arms, or none.
                        Kind::If => begin(frame.opened, false),
                        Kind::Block if frame.reached => begin(frame.opened, false),
                        Kind::Block => now,
                    };
                }
            }
            Operator::Br { relative_depth } => {
                if now.is_some() {
                    branch(relative_depth);
                }
                now = None;
            }
            Operator::BrTable { targets } => {
                if now.is_some() {
                    for target in targets.targets() {
                        branch(target?);
                    }
                    branch(targets.default());
                }
                now = None;
            }
            Operator::Return | Operator::Unreachable => now = None,
            ref other => {
                if let Some(depth) = conditional_branch(other)
                    && now.is_some()
                {
                    branch(depth);
                    now = begin(now, false);
                }
            }
        }
    }
    Ok(regions)
}

/// Pays for each region at its start, or ahead of it.
fn place(regions: &[Region]) -> Vec<Charge> {
    /// Units paid at the start of a region.
    #[derive(Clone, Copy, Default)]
    struct Paid {
        own: u64,
        ahead: u64,
    }
    let mut paid = vec![Paid::default(); regions.len()];
    // The region that pays for each region.
    let mut payer: Vec<usize> = Vec::with_capacity(regions.len());
    for (index, region) in regions.iter().enumerate() {
        let ahead = match region.after {
            Some(after) if !region.head => {
                let payer = payer[after];
                let Paid { own, ahead } = paid[payer];
                (ahead.saturating_add(region.units) <= own.max(AHEAD)).then_some(payer)
            }
            _ => None,
        };
        match ahead {
            Some(before) => {
                paid[before].ahead += region.units;
                payer.push(before);
            }
            None => {
                // A loop without any instruction that costs a unit still pays one.
                paid[index].own = region.units.max(u64::from(region.head));
                payer.push(index);
            }
        }
    }
    regions
        .iter()
        .zip(paid)
        .map(|(region, Paid { own, ahead })| Charge {
            at: region.at,
            units: own.saturating_add(ahead),
        })
        .filter(|charge| charge.units > 0)
        .collect()
}
