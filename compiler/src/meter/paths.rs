//! Measures a function without loops: its longest and its shortest path.

use super::regions::{Callee, ENTRY};
use super::steps::{Last, Steps};

/// Units on the longest and on the shortest path through a function to its return.
///
/// If a function never returns, its paths lead to its traps instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Paths {
    pub(super) longest: u64,
    pub(super) shortest: u64,
    /// Most units that callees on a path pay for themselves without a look at the fuel.
    pub(super) inside: u64,
    /// Most units that run from the last look of a callee to the end.
    pub(super) after: u64,
}

impl Paths {
    fn and(self, units: u32, callee: Callee) -> Self {
        let units = callee.paid.saturating_add(u64::from(units));
        Self {
            longest: self.longest.saturating_add(units),
            shortest: self.shortest.saturating_add(units),
            inside: self.inside.saturating_add(callee.inside),
            after: match callee.after {
                0 if self.after == 0 => 0,
                after => after.max(
                    self.after
                        .saturating_add(units)
                        .saturating_add(callee.inside),
                ),
            },
        }
    }

    fn or(one: Option<Self>, other: Option<Self>) -> Option<Self> {
        match (one, other) {
            (Some(one), Some(other)) => Some(Self {
                longest: one.longest.max(other.longest),
                shortest: one.shortest.min(other.shortest),
                inside: one.inside.max(other.inside),
                after: one.after.max(other.after),
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

/// Measures a function without loops; `callee` returns the cost of what a step calls.
pub(super) fn measure(steps: &Steps<'_>, callee: impl Fn(Last) -> Callee) -> Paths {
    const ENTERED: Paths = Paths {
        longest: ENTRY,
        shortest: ENTRY,
        inside: 0,
        after: 0,
    };
    let mut frames = vec![Frame {
        at_end: None,
        other_arm: None,
    }];
    let mut now = Some(ENTERED);
    let mut trapped = None;
    for step in &steps.list {
        now = now.map(|paths| paths.and(step.units, callee(step.last)));
        let out_of_all = frames.len() as u32 - 1;
        let mut branch = |depth: u32, now: Option<Paths>| {
            let at = frames.len().checked_sub(1 + depth as usize);
            if let Some(frame) = at.and_then(|at| frames.get_mut(at)) {
                frame.at_end = Paths::or(frame.at_end, now);
            }
        };
        match step.last {
            Last::Plain | Last::Call(_) | Last::CallReference(_) => {}
            Last::Block | Last::Loop => frames.push(Frame {
                at_end: None,
                other_arm: None,
            }),
            Last::If => frames.push(Frame {
                at_end: None,
                other_arm: now,
            }),
            Last::Else => {
                if let Some(frame) = frames.last_mut() {
                    frame.at_end = Paths::or(frame.at_end, now);
                    now = frame.other_arm.take();
                }
            }
            Last::End => {
                if let Some(frame) = frames.pop() {
                    now = Paths::or(Paths::or(frame.at_end, frame.other_arm), now);
                }
            }
            Last::Branch(depth) => {
                branch(depth, now);
                now = None;
            }
            Last::BranchIf(depth) => branch(depth, now),
            Last::BranchTable { from, to } => {
                for &depth in steps.depths(from, to) {
                    branch(depth, now);
                }
                now = None;
            }
            Last::Return => {
                branch(out_of_all, now);
                now = None;
            }
            Last::Unreachable => {
                trapped = Paths::or(trapped, now);
                now = None;
            }
        }
    }
    // A function without loops returns or traps.
    let all = Paths::or(now, trapped).unwrap_or(ENTERED);
    Paths {
        shortest: now.or(trapped).unwrap_or(ENTERED).shortest,
        ..all
    }
}
