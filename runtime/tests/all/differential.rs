//! Rewound calls against fresh ones: the same replies, the same fuel, the same memory.

use std::sync::atomic::{AtomicU64, Ordering};

use ferrite_runtime::call::CallRequest;
use ferrite_runtime::resp::Protocol;
use ferrite_runtime::spec::Isolation;

use crate::store_heavy::{Choices, ENTRIES, module};
use crate::support::Host;

/// Calls of each module.
const CALLS: u64 = 12;

/// What the calls of some modules were.
#[derive(Default)]
struct Seen {
    calls: AtomicU64,
    traps: AtomicU64,
}

/// Makes a module, and calls it on fresh and on rewound instances in turn.
async fn compare(host: &Host, choices: &mut Choices<'_>, seen: &Seen) {
    let wat = module(choices);
    let fresh = host.load_with(&wat, |spec| {
        spec.isolation = Isolation::Fresh;
        spec.limits.memory_bytes_max = 6 << 20;
    });
    let rewound = host.load_with(&wat, |spec| spec.limits.memory_bytes_max = 6 << 20);
    assert_eq!(rewound.in_force().isolation, Isolation::Rewind, "{wat}");
    for call in 0..CALLS {
        let name = format!("test.f{}", choices.below(ENTRIES));
        let x = choices.below(1 << 16).to_string();
        let y = choices.below(1 << 40).to_string();
        let args = [x.as_bytes(), y.as_bytes()];
        let request = CallRequest::new(name.as_bytes(), &[], &args);
        let (expected, told) = host.request(Protocol::Resp3, &fresh, &request).await;
        let (reply, outcome) = host.request(Protocol::Resp3, &rewound, &request).await;
        assert_eq!(reply, expected, "call {call} of {name} {x} {y}\n{wat}");
        assert_eq!(outcome.fuel, told.fuel, "call {call} of {name}\n{wat}");
        seen.calls.fetch_add(1, Ordering::Relaxed);
        if reply.starts_with('-') {
            seen.traps.fetch_add(1, Ordering::Relaxed);
        }
    }
    assert_eq!(rewound.rewinding_differences(), 0, "{wat}");
}

/// `FERRITE_REWIND_MODULES` sets how many; the usual number keeps the test short.
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
