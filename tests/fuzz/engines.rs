//! Fuzz target: compares a generated module on the product, on plain wasmtime and on wasmi.
//!
//! `inputs` has its arguments. Panics where the engines differ.

use std::io;

#[path = "../../runtime/tests/all/differential/generated.rs"]
mod generated;
mod inputs;
#[path = "../../runtime/tests/all/support/mod.rs"]
#[allow(dead_code, reason = "shared with tests that need more of it")]
mod support;

struct Engines {
    machine: generated::Machine,
    seen: generated::Seen,
}

impl inputs::Target for Engines {
    const PROGRESS_EVERY: u64 = 500;

    fn make(number: u64) -> Vec<u8> {
        generated::input(number)
    }

    fn run(&mut self, input: &[u8]) {
        inputs::block_on(self.machine.compare(input, &mut self.seen));
    }

    fn seen(&self) -> String {
        format!("{:?}", self.seen)
    }
}

fn main() -> io::Result<()> {
    inputs::run(|| Engines {
        machine: generated::Machine::new(),
        seen: generated::Seen::default(),
    })
}
