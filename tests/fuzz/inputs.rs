//! Sources of a program's inputs, and the loop that runs them.
//!
//! - Files, or one input from standard input, as `afl-fuzz` and `honggfuzz` pass them.
//! - `--from NUMBER`: one input after another, each made from its number, until the program is stopped. The number of
//!   an input that panics is printed.
//! - `--print NUMBER`: writes the bytes of that input to standard output, to be kept as a file.

use std::future::Future;
use std::io::{self, Read, Write};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

/// A runner of inputs. Panics where something is wrong.
pub(crate) trait Target {
    /// Inputs between two lines of progress.
    const PROGRESS_EVERY: u64;

    /// Makes the input of this number.
    fn make(number: u64) -> Vec<u8>;

    /// Runs an input.
    fn run(&mut self, input: &[u8]);

    /// A summary of what the inputs have done so far.
    fn seen(&self) -> String;
}

/// Runs the inputs that the arguments ask for.
///
/// # Errors
///
/// An argument is wrong, or a file cannot be read.
pub(crate) fn run<T: Target>(target: impl FnOnce() -> T) -> io::Result<()> {
    let mut arguments = std::env::args_os().skip(1).peekable();
    let option = arguments.next_if(|argument| argument == "--from" || argument == "--print");
    if let Some(option) = option {
        let number = arguments
            .next()
            .and_then(|number| number.into_string().ok())
            .and_then(|number| number.parse().ok());
        let first: u64 = number.ok_or_else(|| io::Error::other("a number has to follow"))?;
        if option == "--print" {
            return io::stdout().write_all(&T::make(first));
        }
        let mut target = target();
        for number in first.. {
            if number % T::PROGRESS_EVERY == 0 {
                writeln!(io::stderr(), "{number}: {}", target.seen())?;
            }
            std::panic::set_hook(Box::new(move |panic| {
                let _ = writeln!(io::stderr(), "input {number}: {panic}");
            }));
            target.run(&T::make(number));
        }
        return Ok(());
    }
    let mut inputs = Vec::new();
    for path in arguments {
        let input = std::fs::read(&path).map_err(|error| {
            let text = format!(
                "cannot read {}: {error}; give files, --from NUMBER or --print NUMBER",
                path.display()
            );
            io::Error::other(text)
        })?;
        inputs.push(input);
    }
    if inputs.is_empty() {
        let mut input = Vec::new();
        io::stdin().read_to_end(&mut input)?;
        inputs.push(input);
    }
    let mut target = target();
    for input in inputs {
        target.run(&input);
    }
    Ok(())
}

/// Runs a future that waits for nothing but its turn.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return value;
        }
    }
}
