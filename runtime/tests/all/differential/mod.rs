//! Rewound calls against fresh ones, and generated modules on three engines: the same replies, the same
//! fuel, the same memory.

mod compare;
mod generated;

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::Ordering;

use compare::{Seen, compare};
use generated::{Machine, input};

use crate::store_heavy::Choices;
use crate::support::Host;

/// `FERRITE_REWIND_MODULES` sets their number; the default keeps the test short.
#[tokio::test]
async fn rewound_calls_are_what_fresh_ones_are() {
    let modules = std::env::var("FERRITE_REWIND_MODULES")
        .ok()
        .and_then(|count| count.parse().ok())
        .unwrap_or(60_u64);
    let host = Host::new();
    let seen = Seen::default();
    for seed in 1..=modules {
        let mut choices = Choices::new(&[], seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        compare(&host, &mut choices, &seen).await;
    }
    let (calls, traps) = (
        seen.calls.load(Ordering::Relaxed),
        seen.traps.load(Ordering::Relaxed),
    );
    assert!(traps > 0, "some end in a trap");
    assert!(
        traps < calls * 9 / 10,
        "most of them return: {traps} of {calls}"
    );
}

/// `FERRITE_GENERATED_MODULES` sets their number, and `FERRITE_GENERATED_FIRST` the first of them; the
/// default keeps the test short.
#[tokio::test]
async fn every_engine_does_the_same() {
    let number = |name: &str, default: u64| {
        std::env::var(name)
            .ok()
            .and_then(|text| text.parse().ok())
            .unwrap_or(default)
    };
    let first = number("FERRITE_GENERATED_FIRST", 1);
    let modules = number("FERRITE_GENERATED_MODULES", 500);
    let machine = Machine::new();
    let mut seen = generated::Seen::default();
    for number in first..first.saturating_add(modules) {
        machine.compare(&input(number), &mut seen).await;
    }
    assert!(seen.modules > modules / 4, "{seen:?}");
    assert!(seen.calls > seen.modules * 4, "{seen:?}");
    assert!(seen.rewound > seen.modules / 4, "{seen:?}");
    assert!(
        seen.traps > 0 && seen.traps < seen.calls * 9 / 10,
        "{seen:?}"
    );
    assert!(seen.preinitialised > 0, "{seen:?}");
    assert!(seen.by_state > 0, "{seen:?}");
}

/// Inputs for which engines or isolations once differed, and some that reach much.
#[tokio::test]
async fn what_was_found_stays_mended() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz/corpus/engines");
    let machine = Machine::new();
    let mut seen = generated::Seen::default();
    for entry in fs::read_dir(folder).expect("the corpus is there") {
        let input = fs::read(entry.expect("it can be listed").path()).expect("it can be read");
        machine.compare(&input, &mut seen).await;
    }
    assert!(seen.modules > 0, "{seen:?}");
}
