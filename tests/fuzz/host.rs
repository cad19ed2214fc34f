//! Fuzz target: host functions with any pointers, lengths and counts, in any order.
//!
//! `inputs` has its arguments. Panics where the host has a fault, or where a rewound instance differs from its first
//! state.

use std::collections::BTreeMap;
use std::io;

use ferrite_runtime::policy::function_spec::Isolation;

mod inputs;
#[path = "../../runtime/tests/all/host_functions/scripts.rs"]
mod scripts;
#[path = "../../runtime/tests/all/support/mod.rs"]
#[allow(dead_code, reason = "shared with tests that need more of it")]
mod support;

struct HostFunctions {
    machines: [scripts::Machine; 2],
    /// Number of scripts that ended with each code.
    codes: BTreeMap<String, u64>,
}

impl inputs::Target for HostFunctions {
    const PROGRESS_EVERY: u64 = 10_000;

    fn make(number: u64) -> Vec<u8> {
        scripts::script(&mut fastrand::Rng::with_seed(number))
    }

    fn run(&mut self, input: &[u8]) {
        for machine in &self.machines {
            let code = inputs::block_on(machine.run(input));
            *self.codes.entry(code).or_default() += 1;
        }
    }

    fn seen(&self) -> String {
        format!("{:?}", self.codes)
    }
}

fn main() -> io::Result<()> {
    inputs::run(|| HostFunctions {
        machines: [Isolation::Rewind, Isolation::Fresh].map(scripts::Machine::new),
        codes: BTreeMap::new(),
    })
}
