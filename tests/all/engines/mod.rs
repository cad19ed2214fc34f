//! The module in Valkey and Redis: the same replies as the server's, and features of these engines.

mod bundles;
pub(crate) mod cluster;
mod cluster_load;
mod data;
mod everywhere;
mod long_calls;
mod paused;
mod persistence;
mod replicas;
mod safety;
mod same;
mod scripting_engine;

use std::time::{Duration, Instant};

use ferrite_tests::{Client, Reply};

pub(crate) const OPS: &str = include_str!("ops.wat");
pub(crate) const TRAPS: &str = include_str!("traps.wat");

pub(crate) const READ_WRITE: &str = r#"{"allowed_keys":["*"],"allow_write":true}"#;

/// Arguments of a module with limits that no call reaches.
pub(crate) const LONG: [&str; 4] = ["max-fuel", "1000000000000000", "max-time", "1h"];

/// Longer than any wait of the tests.
const PATIENCE: Duration = Duration::from_secs(60);

/// Defines a function that may write; panics if that fails.
pub(crate) fn define(client: &mut Client, name: &str, source: &str) {
    let reply = client.call(&["WASM.DEFINE", name, source, "PERMISSIONS", READ_WRITE]);
    assert!(
        reply.text().is_some_and(|text| text.starts_with("blake3:")),
        "{name} was not defined: {reply:?}"
    );
}

/// Repeats a request until the reply is as wanted, for background work of the engine.
pub(crate) fn until(client: &mut Client, words: &[&str], wanted: impl Fn(&Reply) -> bool) -> Reply {
    let started = Instant::now();
    loop {
        let reply = client.call(words);
        if wanted(&reply) {
            return reply;
        }
        assert!(
            started.elapsed() < PATIENCE,
            "{words:?} is still answered with {reply:?}"
        );
        std::thread::yield_now();
    }
}

/// A field of a section of `INFO`.
pub(crate) fn info(client: &mut Client, section: &str, field: &str) -> String {
    let reply = client.call(&["INFO", section]);
    let text = reply.text().unwrap_or_default();
    text.lines()
        .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))
        .unwrap_or_default()
        .trim()
        .to_owned()
}

/// The names of the functions that a server has, sorted.
pub(crate) fn names(client: &mut Client) -> Vec<String> {
    let list = client.call(&["WASM.LIST"]);
    let mut names: Vec<String> = list
        .elements()
        .unwrap_or_default()
        .iter()
        .filter_map(|one| Some(one.at("name")?.text()?.to_owned()))
        .collect();
    names.sort();
    names
}
