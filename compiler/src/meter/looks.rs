//! Decides where a function looks at the fuel: on every way round, and before much has run since the last look.

use super::regions::Code;

/// Units of code, at most, between two looks at the fuel.
const BETWEEN_LOOKS: u64 = 16 << 10;

/// The same after a call that may have led back to this function.
///
/// Calls that are nested as deep as the stack allows and return one after the other may each run so
/// many units without a look: some 8 million in all (512 KiB of stack, 32 bytes a frame), two or three
/// milliseconds. Code that was paid for before
/// the call is not looked at: it costs at most as much as what looked at the fuel on the way down.
const AFTER_NESTED_CALLS: u64 = 512;

/// Places at which a function looks at the fuel.
pub(super) struct Looks {
    /// For each region, if it looks where it begins.
    pub(super) at: Vec<bool>,
    /// Most units from the function's entry to a look, or to its return without one.
    pub(super) before: u64,
    /// Most units from its last look to its return.
    pub(super) after: u64,
}

/// Units that may have run where a region ends.
#[derive(Clone, Copy, Default)]
struct Since {
    /// Since the last look.
    look: u64,
    /// Since a call that may have led back here, if there was no look since then.
    nested: Option<u64>,
    /// Since the function's entry, on a way without a look.
    entry: Option<u64>,
}

impl Since {
    fn or(self, other: Self) -> Self {
        Self {
            look: self.look.max(other.look),
            nested: self.nested.max(other.nested),
            entry: self.entry.max(other.entry),
        }
    }
}

/// Decides where a function looks at the fuel; where it begins, if `at_entry` is true.
pub(super) fn looks(code: &Code, at_entry: bool) -> Looks {
    let mut looks = Looks {
        at: vec![false; code.regions.len()],
        before: 0,
        after: 0,
    };
    let mut ends: Vec<Since> = Vec::with_capacity(code.regions.len());
    for (number, region) in code.regions.iter().enumerate() {
        let before = code.before(number).iter().map(|&before| ends[before]);
        let begin = before.reduce(Since::or).unwrap_or(Since {
            entry: Some(0),
            ..Since::default()
        });
        let units = region.all_units();
        let is_late = begin.look.saturating_add(units) > BETWEEN_LOOKS
            || begin
                .nested
                .is_some_and(|nested| nested.saturating_add(units) > AFTER_NESTED_CALLS);
        let looked = match region.after {
            None => at_entry,
            Some(_) => region.head || is_late,
        };
        looks.at[number] = looked;
        let begin = if looked { Since::default() } else { begin };
        let end = Since {
            look: begin.look.max(region.after_look).saturating_add(units),
            nested: match (region.nests, begin.nested) {
                (true, _) => Some(units),
                (false, nested) => nested.map(|nested| nested.saturating_add(units)),
            },
            entry: begin.entry.map(|entry| entry.saturating_add(units)),
        };
        looks.before = looks.before.max(end.entry.unwrap_or(0));
        if region.returns {
            looks.after = looks.after.max(end.look);
        }
        ends.push(end);
    }
    looks
}
