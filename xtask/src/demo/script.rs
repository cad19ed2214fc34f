//! The commands of the demo: data for the store, and calls of the examples.

use super::Compiled;

/// The commands, in order.
pub(super) const COMMANDS: &[&[&str]] = &[
    // Two calls are allowed in a minute: the third is refused.
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
    // The same function in C. A module with several functions has a name for each.
    &[
        "WASM.CALL",
        "c_functions.rate_limit",
        "KEYS",
        "ratelimit:c:123",
        "ARGS",
        "2",
        "60",
    ],
    // Handwritten WAT: stores nothing if the current value is not the expected one.
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
    // A call in the syntax of client libraries.
    &["FCALL", "rate_limit", "1", "ratelimit:api:124", "2", "60"],
    // Takes JSON, stores a hash, replies with a map.
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
    // Reads many keys, with SCAN.
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
    // Uses a crate from crates.io.
    &["SET", "doc:1", "{\"name\":\"old\",\"tags\":[]}"],
    &[
        "WASM.CALL",
        "json_patch",
        "KEYS",
        "doc:1",
        "ARGS",
        "[{\"op\":\"add\",\"path\":\"/tags/-\",\"value\":\"new\"}]",
    ],
    // A function cannot reach keys beyond its permissions.
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

/// Error codes that the demo expects.
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
