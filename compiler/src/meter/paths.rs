//! Measures a function without loops: its longest and its shortest path.

use wasmparser::{Error, FunctionBody, Operator};

use super::regions::{Callee, ENTRY, units};

/// Units on the longest and on the shortest path through a function to its return.
///
/// If a function never returns, its paths lead to its traps instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Paths {
    pub(super) longest: u64,
    pub(super) shortest: u64,
    /// Units on the longest path, with those that callees pay for themselves without a check.
    pub(super) with_callees: u64,
}

impl Paths {
    fn and(self, units: u64, inside: u64) -> Self {
        Self {
            longest: self.longest.saturating_add(units),
            shortest: self.shortest.saturating_add(units),
            with_callees: self
                .with_callees
                .saturating_add(units)
                .saturating_add(inside),
        }
    }

    fn or(one: Option<Self>, other: Option<Self>) -> Option<Self> {
        match (one, other) {
            (Some(one), Some(other)) => Some(Self {
                longest: one.longest.max(other.longest),
                shortest: one.shortest.min(other.shortest),
                with_callees: one.with_callees.max(other.with_callees),
            }),
            (one, other) => one.or(other),
        }
    }
}

/// An open block.
struct Frame {
    /// Paths to its end so far.
    at_end: Option<Paths>,
    /// Paths to the start of an `if`, for its other arm.
    other_arm: Option<Paths>,
}

/// Measures a body without loops; `callee` returns the cost of a called function.
pub(super) fn measure(
    body: &FunctionBody<'_>,
    callee: impl Fn(u32) -> Callee,
) -> Result<Paths, Error> {
    let mut frames = vec![Frame {
        at_end: None,
        other_arm: None,
    }];
    let mut now = Some(Paths {
        longest: ENTRY,
        shortest: ENTRY,
        with_callees: ENTRY,
    });
    let mut trapped = None;
    let mut operators = body.get_operators_reader()?;
    while !operators.eof() {
        let operator = operators.read()?;
        let mut cost = units(&operator);
        let mut inside = 0;
        if let Operator::Call { function_index } = operator {
            let callee = callee(function_index);
            cost = cost.saturating_add(callee.paid);
            inside = callee.unchecked.unwrap_or(0);
        }
        now = now.map(|paths| paths.and(cost, inside));
        let out_of_all = frames.len() as u32 - 1;
        let mut branch = |depth: u32, now: Option<Paths>| {
            let at = frames.len().checked_sub(1 + depth as usize);
            if let Some(frame) = at.and_then(|at| frames.get_mut(at)) {
                frame.at_end = Paths::or(frame.at_end, now);
            }
        };
        match operator {
            Operator::Block { .. } => frames.push(Frame {
                at_end: None,
                other_arm: None,
            }),
            Operator::If { .. } => frames.push(Frame {
                at_end: None,
                other_arm: now,
            }),
            Operator::Else => {
                if let Some(frame) = frames.last_mut() {
                    frame.at_end = Paths::or(frame.at_end, now);
                    now = frame.other_arm.take();
                }
            }
            Operator::End => {
                if let Some(frame) = frames.pop() {
                    now = Paths::or(Paths::or(frame.at_end, frame.other_arm), now);
                }
            }
            Operator::Br { relative_depth } => {
                branch(relative_depth, now);
                now = None;
            }
            Operator::BrTable { targets } => {
                for target in targets.targets() {
                    branch(target?, now);
                }
                branch(targets.default(), now);
                now = None;
            }
            Operator::Return => {
                branch(out_of_all, now);
                now = None;
            }
            Operator::Unreachable => {
                trapped = Paths::or(trapped, now);
                now = None;
            }
            ref other => {
                if let Some(depth) = super::regions::conditional_branch(other) {
                    branch(depth, now);
                }
            }
        }
    }
    // A body without loops returns or traps.
    let all = Paths::or(now, trapped);
    Ok(Paths {
        longest: all.map_or(ENTRY, |paths| paths.longest),
        shortest: now.or(trapped).map_or(ENTRY, |paths| paths.shortest),
        with_callees: all.map_or(ENTRY, |paths| paths.with_callees),
    })
}
