//! Places at which one function pays.
//!
//! The code is cut into regions: each runs from start to end or not at all, except for traps. Each
//! except the first knows the region that always runs before it and after which it runs at most
//! once. Cheap regions are paid there.
//!
//! A charge only has to look at the fuel where much may have run since the last one that did: at the
//! head of a loop, and after a number of units, a smaller one where functions that look at it
//! themselves were called in between.

use wasmparser::{Error, FunctionBody, Operator};

/// Units that a charge may pay ahead for code that may not run; or as many as the charge's own, if
/// those are more.
const AHEAD: u64 = 16;

/// Units of code, at most, between two looks at the fuel.
const BETWEEN_CHECKS: u64 = 16 << 10;

/// The same if functions that look at the fuel were called in between.
///
/// Calls that are nested as deep as the stack allows and return one after the other may each run so
/// many units without a look: some 8 million in all (512 KiB of stack, 32 bytes a frame), two or three
/// milliseconds. Code that was paid for before
/// the call is not looked at: it costs at most as much as what looked at the fuel on the way down.
const BETWEEN_CHECKS_AFTER_CALLS: u64 = 512;

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

/// Cost of a function for those that call it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Callee {
    /// Units that the caller pays, besides the call itself.
    pub(super) paid: u64,
    /// Most units that the function pays for itself without looking at the fuel; `None` if it looks, or
    /// may call one that does.
    pub(super) unchecked: Option<u64>,
}

/// A region of code.
#[derive(Debug)]
struct Region {
    /// Offset of its first instruction in the source.
    at: usize,
    units: u64,
    /// Units that callees pay for themselves without a look at the fuel.
    inside: u64,
    /// True if it calls functions that look at the fuel, or may do so.
    calls: bool,
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
    /// True if the host is called when the fuel is negative then.
    pub(super) checked: bool,
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

impl Region {
    fn new(at: usize, units: u64, after: Option<usize>, head: bool) -> Self {
        Self {
            at,
            units,
            inside: 0,
            calls: false,
            after,
            head,
        }
    }

    /// Returns the units that it takes, those of its callees included.
    fn all_units(&self) -> u64 {
        self.units.saturating_add(self.inside)
    }
}

/// Returns a function's charges, in the order of the code.
///
/// `checked` is true if its first charge looks at the fuel. If it is not, the whole function costs
/// little, and none does. `callee` returns the cost of a called function.
pub(super) fn charges(
    body: &FunctionBody<'_>,
    checked: bool,
    callee: impl Fn(u32) -> Callee,
) -> Result<Vec<Charge>, Error> {
    let mut charges = place(&cut(body, callee)?);
    if !checked {
        for charge in &mut charges {
            charge.checked = false;
        }
    }
    Ok(charges)
}

fn cut(body: &FunctionBody<'_>, callee: impl Fn(u32) -> Callee) -> Result<Vec<Region>, Error> {
    let mut operators = body.get_operators_reader()?;
    let mut regions = vec![Region::new(
        operators.original_position(),
        ENTRY,
        None,
        false,
    )];
    let mut frames = vec![Frame {
        kind: Kind::Block,
        opened: Some(0),
        reached: false,
    }];
    let mut now = Some(0);
    while !operators.eof() {
        let operator = operators.read()?;
        let next = operators.original_position();
        let mut is_long = false;
        if let Some(now) = now {
            let region: &mut Region = &mut regions[now];
            region.units += units(&operator);
            match operator {
                Operator::Call { function_index } => {
                    let Callee { paid, unchecked } = callee(function_index);
                    region.units = region.units.saturating_add(paid);
                    region.inside = region.inside.saturating_add(unchecked.unwrap_or(0));
                    region.calls |= unchecked.is_none();
                }
                Operator::CallIndirect { .. } | Operator::CallRef { .. } => region.calls = true,
                _ => {}
            }
            is_long = region.all_units() > BETWEEN_CHECKS / 2;
        }
        let mut begin = |after: Option<usize>, head: bool| {
            after.map(|after| {
                regions.push(Region::new(next, 0, Some(after), head));
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
                } else if is_long {
                    now = begin(now, false);
                }
            }
        }
    }
    Ok(regions)
}

/// Pays for each region at its start, or ahead of it.
fn place(regions: &[Region]) -> Vec<Charge> {
    /// Payment at the start of a region.
    #[derive(Clone, Copy, Default)]
    struct Paid {
        own: u64,
        ahead: u64,
        checked: bool,
    }
    /// Decisions about a region, and sums over those before it, in the order of the code.
    struct Placed {
        /// The region that pays for it.
        payer: usize,
        /// The last region that looks at the fuel and always runs before it, or itself.
        checker: usize,
        units_before: u64,
        calls_before: usize,
    }
    let mut paid = vec![Paid::default(); regions.len()];
    let mut placed: Vec<Placed> = Vec::with_capacity(regions.len());
    let (mut units, mut calls) = (0_u64, 0);
    for (index, region) in regions.iter().enumerate() {
        let (units_before, calls_before) = (units, calls);
        units = units.saturating_add(region.all_units());
        calls += usize::from(region.calls);
        let before = region.after.map(|after| &placed[after]);
        // What runs between a look at the fuel and a region after it stands between them: only loops
        // lead back, to a head that looks again.
        let last = before.map(|before| (before.checker, &placed[before.checker]));
        let since_check = last.map_or(u64::MAX, |(_, last)| units - last.units_before);
        let called = last.is_some_and(|(_, last)| calls_before > last.calls_before);
        let is_far = since_check > BETWEEN_CHECKS;
        let ahead = before.map(|before| before.payer).filter(|&payer| {
            let Paid { own, ahead, .. } = paid[payer];
            !region.head && !is_far && ahead.saturating_add(region.units) <= own.max(AHEAD)
        });
        let payer = ahead.unwrap_or(index);
        if ahead.is_some() {
            paid[payer].ahead += region.units;
        } else {
            // A loop without any instruction that costs a unit still pays one.
            let own = region.units.max(u64::from(region.head));
            let is_due = is_far || called && since_check > BETWEEN_CHECKS_AFTER_CALLS;
            paid[index] = Paid {
                own,
                ahead: 0,
                checked: own > 0 && (region.head || is_due),
            };
        }
        placed.push(Placed {
            payer,
            checker: match last {
                Some((checker, _)) if !paid[index].checked => checker,
                _ => index,
            },
            units_before,
            calls_before,
        });
    }
    regions
        .iter()
        .zip(paid)
        .map(
            |(
                region,
                Paid {
                    own,
                    ahead,
                    checked,
                },
            )| Charge {
                at: region.at,
                units: own.saturating_add(ahead),
                checked,
            },
        )
        .filter(|charge| charge.units > 0)
        .collect()
}
