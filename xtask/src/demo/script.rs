//! What the tour types: seeds for the store and calls of the examples, each for a reason of its own.

use super::Compiled;

/// The commands, in order.
pub(super) const COMMANDS: &[&[&str]] = &[
    // Two calls are allowed in a minute: the third is not.
    &[
        "WASM.CALL",
        "rate_limit",
        "KEYS",
        "ratelimit:api:123",
        "ARGS",
        "2",
        "60",
    ],
    &[
        "WASM.CALL",
        "rate_limit",
        "KEYS",
        "ratelimit:api:123",
        "ARGS",
        "2",
        "60",
    ],
    &[
        "WASM.CALL",
        "rate_limit",
        "KEYS",
        "ratelimit:api:123",
        "ARGS",
        "2",
        "60",
    ],
    &["TTL", "ratelimit:api:123"],
    // The same function in C: several functions in one module are called by their own names.
    &[
        "WASM.CALL",
        "c_functions.rate_limit",
        "KEYS",
        "ratelimit:c:123",
        "ARGS",
        "2",
        "60",
    ],
    // By hand in WAT: nothing is stored where something else is expected.
    &["SET", "config:mode", "v1"],
    &[
        "WASM.CALL",
        "compare_and_set",
        "KEYS",
        "config:mode",
        "ARGS",
        "v1",
        "v2",
    ],
    &[
        "WASM.CALL",
        "compare_and_set",
        "KEYS",
        "config:mode",
        "ARGS",
        "v1",
        "v3",
    ],
    &["GET", "config:mode"],
    // As client libraries have it.
    &["FCALL", "rate_limit", "1", "ratelimit:api:124", "2", "60"],
    // JSON in, a hash in the store, a map out.
    &["HSET", "user:123", "status", "active", "role", "editor"],
    &[
        "WASM.CALL",
        "validate_user",
        "KEYS",
        "user:123",
        "ARGS",
        "{\"action\": \"login\"}",
    ],
    &[
        "WASM.CALL",
        "validate_user",
        "KEYS",
        "user:123",
        "ARGS",
        "{\"action\": \"delete\"}",
    ],
    // Reads many keys, by way of SCAN.
    &["HSET", "stats:2024-01-15", "views", "120", "buys", "3"],
    &["HSET", "stats:2024-01-16", "views", "80", "buys", "4"],
    &[
        "WASM.CALL",
        "aggregate_stats",
        "ARGS",
        "stats:*",
        "2024-01-01",
        "2024-01-31",
    ],
    // A crate from crates.io at work.
    &["SET", "doc:1", "{\"name\":\"old\",\"tags\":[]}"],
    &[
        "WASM.CALL",
        "json_patch",
        "KEYS",
        "doc:1",
        "ARGS",
        "[{\"op\":\"add\",\"path\":\"/tags/-\",\"value\":\"new\"}]",
    ],
    // What a function was not allowed stays out of its reach.
    &[
        "WASM.CALL",
        "rate_limit",
        "KEYS",
        "user:123",
        "ARGS",
        "2",
        "60",
    ],
];

/// Error codes that the tour shows on purpose.
pub(super) const SHOWN_ERRORS: &[&str] = &["NOPERM"];

/// Returns true if a command calls no function, or one that was built.
pub(super) fn can_run(command: &[&str], functions: &[Compiled]) -> bool {
    match command {
        ["WASM.CALL" | "FCALL", called, ..] => {
            let name = called.split('.').next().unwrap_or(called);
            functions.iter().any(|function| function.name == name)
        }
        _ => true,
    }
}
