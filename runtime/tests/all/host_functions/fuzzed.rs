//! Host functions with any pointers, lengths and counts, in any order.
//!
//! One guest runs a script: for each step the number of a host function and its parameters. Scripts
//! are made of numbers that break things: the ends of the memory, negative lengths, huge counts, and
//! some that are right. `FERRITE_FUZZ_INPUTS` sets how many are run; `tests/fuzz/host.rs` runs them without end.

use ferrite_runtime::policy::function_spec::Isolation;

use super::scripts::{Machine, script};

/// Scripts in a plain run.
const INPUTS: u32 = 3_000;

#[tokio::test]
async fn no_pointer_or_count_breaks_the_host() {
    let inputs = std::env::var("FERRITE_FUZZ_INPUTS").map_or(INPUTS, |text| {
        text.parse().expect("FERRITE_FUZZ_INPUTS is a number")
    });
    for isolation in [Isolation::Rewind, Isolation::Fresh] {
        let machine = Machine::new(isolation);
        let mut random = fastrand::Rng::with_seed(3);
        let mut codes = std::collections::BTreeMap::<String, u32>::new();
        for _ in 0..inputs {
            let code = machine.run(&script(&mut random)).await;
            *codes.entry(code).or_default() += 1;
        }
        // The scripts do reach both ends.
        assert!(
            codes.contains_key("a reply") && codes.contains_key("TRAP"),
            "{codes:?}"
        );
    }
}
