//! Decides where a function looks at the fuel: on every way round, and before much has run since the last look.

use super::regions::{BETWEEN_LOOKS, Code};

/// Places at which a function looks at the fuel.
pub(super) struct Looks {
    /// For each region, if it looks where it begins.
    pub(super) at: Vec<bool>,
    /// Most units from the function's entry to a look, or to its return without one.
    pub(super) before: u64,
    /// Most units from its last look to its return, or from the return of a call that led back to it.
    pub(super) after: u64,
}

/// Units that may have run where a region ends.
#[derive(Clone, Copy, Default)]
struct Since {
    /// Since the last look, or taken to have run since then.
    look: u64,
    /// Since the last look, or the return of a call that led back here.
    known: u64,
    /// Since the function's entry, on a way without a look.
    entry: Option<u64>,
}

impl Since {
    fn or(self, other: Self) -> Self {
        Self {
            look: self.look.max(other.look),
            known: self.known.max(other.known),
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
        let is_late = begin.look.saturating_add(units) > BETWEEN_LOOKS;
        let looked = match region.after {
            None => at_entry,
            Some(_) => region.head || is_late,
        };
        looks.at[number] = looked;
        let begin = if looked { Since::default() } else { begin };
        let end = Since {
            look: begin.look.saturating_add(units).max(region.returned()),
            known: if region.nests {
                0
            } else {
                begin.known.saturating_add(units).max(region.after_look)
            },
            entry: begin.entry.map(|entry| entry.saturating_add(units)),
        };
        looks.before = looks.before.max(end.entry.unwrap_or(0));
        if region.returns {
            looks.after = looks.after.max(end.known);
        }
        ends.push(end);
    }
    looks
}
