//! Fuzz target: rewound calls against fresh ones, on modules that are made of the input.
//!
//! Takes inputs from the files it is given, or one from standard input, as `afl-fuzz` and `honggfuzz`
//! give them. It panics where a rewound call differs from a fresh one in reply, fuel or memory, or an
//! instance from its pristine state after it was rewound.

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

/// Drives calls that wait for nothing but their turn.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return value;
        }
    }
}
