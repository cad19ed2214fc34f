//! One module, called on fresh and on rewound instances in turn.

use std::sync::atomic::{AtomicU64, Ordering};

use ferrite_protocol::resp::Protocol;
use ferrite_runtime::call::request::CallRequest;
use ferrite_runtime::policy::function_spec::Isolation;

use crate::store_heavy::{Choices, ENTRIES, module};
use crate::support::Host;

/// Calls of each module.
const CALLS: u64 = 12;

/// Counts of the calls of several modules.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) calls: AtomicU64,
    pub(crate) traps: AtomicU64,
}

/// Makes a module, and calls it on fresh and on rewound instances in turn.
pub(crate) async fn compare(host: &Host, choices: &mut Choices<'_>, seen: &Seen) {
    let wat = module(choices);
    let fresh = host.load_with(&wat, |spec| {
        spec.isolation = Isolation::Fresh;
        spec.limits.memory_bytes_max = 6 << 20;
    });
    let rewound = host.load_with(&wat, |spec| spec.limits.memory_bytes_max = 6 << 20);
    assert_eq!(
        rewound.effective_isolation().isolation,
        Isolation::Rewind,
        "{wat}"
    );
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
