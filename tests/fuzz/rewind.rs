//! Fuzz target: compares rewound calls with fresh ones, on modules generated from the input.
//!
//! Reads inputs from the given files, or one from standard input, as `afl-fuzz` and `honggfuzz`
//! pass them. Panics if a rewound call differs from a fresh one in reply, fuel or memory, or if an
//! instance differs from its pristine state after it was rewound.

use std::future::Future;
use std::io::{self, Read};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

#[path = "../../runtime/tests/all/differential/compare.rs"]
mod compare;
#[path = "../../runtime/tests/all/store_heavy.rs"]
mod store_heavy;
#[path = "../../runtime/tests/all/support/mod.rs"]
#[allow(dead_code, reason = "shared with tests that need more of it")]
mod support;

fn main() -> io::Result<()> {
    let mut inputs = Vec::new();
    for path in std::env::args_os().skip(1) {
        inputs.push(std::fs::read(path)?);
    }
    if inputs.is_empty() {
        let mut input = Vec::new();
        io::stdin().read_to_end(&mut input)?;
        inputs.push(input);
    }
    let host = support::Host::new();
    for input in inputs {
        let mut choices = store_heavy::Choices::new(&input, input.len() as u64);
        block_on(compare::compare(
            &host,
            &mut choices,
            &compare::Seen::default(),
        ));
    }
    Ok(())
}

/// Runs a future that waits for nothing but its turn.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return value;
        }
    }
}
