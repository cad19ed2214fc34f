//! Decides where the units of a function's regions are paid.
//!
//! Each region expects that some units were paid before it begins, and pays what it and the dearest of the
//! regions after it need beyond that. A region that expects all of what it needs pays nothing: those
//! before it do. So whatever way is taken, what ran has been paid for; and what was paid without being run is
//! the difference between the ways that were not taken and the one that was.

use std::cmp::Reverse;

use super::regions::{BETWEEN_LOOKS, Block, Code, Loop};

/// Units that a region may let others pay ahead for code that may not run after them; or as many as those
/// cost themselves, if that is more.
const AHEAD: u64 = 32;

/// Most units that are paid ahead.
const AHEAD_MAX: u64 = 8 << 10;

/// Loops, at most, that a way out of several is followed through. Code that a way out of more leads to is paid in
/// each round of the outer ones.
const LOOPS_LEFT_MAX: usize = 64;

/// Returns the units that each region pays where it begins.
pub(super) fn payments(code: &Code) -> Vec<u64> {
    let mut payments = Payments {
        code,
        expected: vec![0; code.regions.len()],
        next: vec![0; code.regions.len()],
        around: vec![0; code.loops.len()],
        ends: vec![None; code.blocks.len()],
    };
    let mut paid = vec![0; code.regions.len()];
    // Of loops that end together, the outer one has the smaller number, and comes first.
    let mut loops: Vec<usize> = (0..code.loops.len()).collect();
    loops.sort_by_key(|&number| (Reverse(code.loops[number].end), number));
    let mut loops = loops.into_iter().peekable();
    for region in (0..code.regions.len()).rev() {
        while let Some(number) = loops.next_if(|&number| code.loops[number].end == region + 1) {
            payments.lead_back(number);
        }
        paid[region] = payments.pay(region);
        for &before in code.before(region) {
            payments.lead(before, region, payments.expected[region]);
        }
    }
    paid
}

struct Payments<'a> {
    code: &'a Code,
    /// Units that each region expects to be paid before it begins.
    expected: Vec<u64>,
    /// The most that the regions expect that one leads to.
    next: Vec<u64>,
    /// The most that the regions expect that a loop leads to. It is paid before the loop, and its head expects
    /// it every time.
    around: Vec<u64>,
    /// Units that all ways through a block need at its end, if that was asked for before.
    ends: Vec<Option<u64>>,
}

impl Payments<'_> {
    /// Decides what a region expects, and returns what it pays.
    fn pay(&mut self, number: usize) -> u64 {
        let region = &self.code.regions[number];
        let needed = region.units.saturating_add(self.next[number]);
        let expected = match (region.after, region.inside_loop) {
            (None, _) => 0,
            (_, Some(inside)) if region.head => self.around[inside],
            (Some(after), _) => {
                let common = self.common(region.block);
                let most = AHEAD.max(self.code.regions[after].units);
                let is_ahead = region.certain || needed.saturating_sub(common) <= most;
                if self.is_late(number, needed) {
                    0
                } else if is_ahead && needed <= AHEAD_MAX {
                    needed
                } else {
                    common.min(needed)
                }
            }
        };
        self.expected[number] = expected;
        // A loop without any instruction that costs a unit still pays one.
        (needed.saturating_sub(expected)).max(u64::from(region.head))
    }

    /// Returns true if a call has returned before this region and too much would run since a look, if it was paid
    /// for before the call. Then the fuel would not be negative when it looks.
    fn is_late(&self, number: usize, needed: u64) -> bool {
        let before = self.code.before(number).iter();
        let returned = before.map(|&before| self.code.regions[before].returned());
        let returned = returned.max().unwrap_or(0);
        returned > 0 && returned.saturating_add(needed) > BETWEEN_LOOKS
    }

    /// Records that a region leads to another one that expects `units`.
    fn lead(&mut self, from: usize, to: usize, units: u64) {
        self.next[from] = self.next[from].max(units);
        let mut left = self.code.regions[from].inside_loop;
        for _ in 0..LOOPS_LEFT_MAX {
            let Some(number) = left else { break };
            let inside = &self.code.loops[number];
            if (inside.head..inside.end).contains(&to) {
                break;
            }
            self.around[number] = self.around[number].max(units);
            left = inside.parent;
        }
    }

    /// Begins a loop, at its last region: all that it leads to is decided.
    fn lead_back(&mut self, number: usize) {
        let Loop { head, backs, .. } = &self.code.loops[number];
        for &from in backs {
            self.lead(from, *head, self.around[number]);
        }
    }

    /// Returns the units that all ways through a block need at its end.
    fn common(&mut self, block: usize) -> u64 {
        let mut within = Vec::new();
        let mut at = block;
        let common = loop {
            if let Some(known) = self.ends[at] {
                break known;
            }
            within.push(at);
            match self.code.blocks[at] {
                Block::Within(outer) => at = outer,
                Block::Loop(number) => break self.around[number],
                Block::End(region) => break self.expected[region],
                Block::Out => break 0,
            }
        };
        for block in within {
            self.ends[block] = Some(common);
        }
        common
    }
}
