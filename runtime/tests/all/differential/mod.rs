//! Rewound calls against fresh ones: the same replies, the same fuel, the same memory.

mod compare;

use std::sync::atomic::Ordering;

use compare::{Seen, compare};

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
