//! Fuzz target: compares a generated module on the product, on plain wasmtime and on wasmi.
//!
//! Reads inputs from the given files, or one from standard input, as `afl-fuzz` and `honggfuzz`
//! pass them; or, with `--from NUMBER`, makes one input after another until it is stopped. Panics
//! where the engines differ, after the number of the input was printed.

use std::future::Future;
use std::io::{self, Read, Write};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

#[path = "../../runtime/tests/all/differential/generated.rs"]
mod generated;
#[path = "../../runtime/tests/all/support/mod.rs"]
#[allow(dead_code, reason = "shared with tests that need more of it")]
mod support;

/// Inputs between two lines of progress.
const PROGRESS_EVERY: u64 = 500;

fn main() -> io::Result<()> {
    let machine = generated::Machine::new();
    let mut seen = generated::Seen::default();
    let mut arguments = std::env::args_os().skip(1).peekable();
    if arguments.next_if(|argument| argument == "--from").is_some() {
        let first = arguments
            .next()
            .and_then(|number| number.into_string().ok());
        let first = first.and_then(|number| number.parse().ok());
        let first: u64 = first.ok_or_else(|| io::Error::other("--from needs a number"))?;
        for number in first.. {
            if number % PROGRESS_EVERY == 0 {
                writeln!(io::stderr(), "{number}: {seen:?}")?;
            }
            std::panic::set_hook(Box::new(move |panic| {
                let _ = writeln!(io::stderr(), "input {number}: {panic}");
            }));
            block_on(machine.compare(&generated::input(number), &mut seen));
        }
        return Ok(());
    }
    let mut inputs = Vec::new();
    for path in arguments {
        inputs.push(std::fs::read(path)?);
    }
    if inputs.is_empty() {
        let mut input = Vec::new();
        io::stdin().read_to_end(&mut input)?;
        inputs.push(input);
    }
    for input in inputs {
        block_on(machine.compare(&input, &mut seen));
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
