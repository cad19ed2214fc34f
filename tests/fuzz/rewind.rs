//! Fuzz target: compares rewound calls with fresh ones, on modules generated from the input.
//!
//! `inputs` has its arguments. Panics if a rewound call differs from a fresh one in reply, fuel or memory, or if an
//! instance differs from its pristine state after it was rewound.

use std::io;
use std::sync::atomic::Ordering;

#[path = "../../runtime/tests/all/differential/compare.rs"]
mod compare;
mod inputs;
#[path = "../../runtime/tests/all/store_heavy.rs"]
mod store_heavy;
#[path = "../../runtime/tests/all/support/mod.rs"]
#[allow(dead_code, reason = "shared with tests that need more of it")]
mod support;

struct Rewinding {
    host: support::Host,
    seen: compare::Seen,
}

impl inputs::Target for Rewinding {
    const PROGRESS_EVERY: u64 = 500;

    fn make(number: u64) -> Vec<u8> {
        let mut random = fastrand::Rng::with_seed(number);
        let length = random.usize(..2048);
        std::iter::repeat_with(|| random.u8(..))
            .take(length)
            .collect()
    }

    fn run(&mut self, input: &[u8]) {
        let mut choices = store_heavy::Choices::new(input, input.len() as u64);
        inputs::block_on(compare::compare(&self.host, &mut choices, &self.seen));
    }

    fn seen(&self) -> String {
        let (calls, traps) = (&self.seen.calls, &self.seen.traps);
        let (calls, traps) = (calls.load(Ordering::Relaxed), traps.load(Ordering::Relaxed));
        format!("{calls} calls, {traps} traps")
    }
}

fn main() -> io::Result<()> {
    inputs::run(|| Rewinding {
        host: support::Host::new(),
        seen: compare::Seen::default(),
    })
}
