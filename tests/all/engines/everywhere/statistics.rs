//! Statistics over six primaries, beside a client that counts by `SCAN` and pipelines. `FERRITE_KEYS` sets the
//! number of keys and `FERRITE_PRIMARIES` that of nodes; a million keys is a run by hand.

#![allow(clippy::print_stdout, reason = "the test says what it measured")]

use std::collections::HashMap;
use std::thread;
use std::time::Instant;

use ferrite_tests::{Client, Engine, EngineKind, Reply, encode};

use crate::engines::cluster::{cluster_of_primaries, has, owner_of, slot_of};
use crate::engines::{LONG, until};

/// Keys in a plain run.
const KEYS: usize = 10_000;

/// Primaries in a plain run.
const PRIMARIES: usize = 6;

/// Keys with the same tag, which are in one slot.
const WITH_TAG: usize = 100;

/// Requests that are sent before their replies are read.
const BATCH: usize = 10_000;

/// Writes the keys, and returns the sum of their hits.
fn fill(nodes: &[Engine], keys: usize) -> usize {
    let primaries = nodes.len();
    let mut clients: Vec<Client> = nodes.iter().map(Engine::client).collect();
    let mut owners: HashMap<usize, usize> = HashMap::new();
    for batch in 0..keys.div_ceil(BATCH) {
        let mut sent = vec![Vec::new(); primaries];
        for number in batch * BATCH..keys.min((batch + 1) * BATCH) {
            let tag = number / WITH_TAG;
            let key = format!("stats:{{{tag}}}:{number}:2024-01-{:02}", number % 28 + 1);
            let owner = *owners
                .entry(tag)
                .or_insert_with(|| owner_of(slot_of(nodes, &format!("{{{tag}}}")), primaries));
            let value = number.to_string();
            sent[owner].extend(encode(&["HSET", &key, "hits", &value, "calls", "1"]));
        }
        for (client, mut sent) in clients.iter_mut().zip(sent) {
            sent.extend(encode(&["ECHO", "end"]));
            client.send(&sent);
        }
        for client in &mut clients {
            loop {
                let reply = client.reply();
                assert!(reply.error().is_none(), "{reply:?}");
                if reply.text() == Some("end") {
                    break;
                }
            }
        }
    }
    (0..keys).sum()
}

/// Adds up the hits of one node by `SCAN`, and a pipeline of `HGET` for each page.
fn scan(client: &mut Client) -> usize {
    let (mut sum, mut cursor) = (0, "0".to_owned());
    loop {
        let page = client.call(&["SCAN", &cursor, "MATCH", "stats:*", "COUNT", "1000"]);
        let page = page.elements().expect("a page");
        let keys = page[1].elements().expect("keys");
        let sent = keys
            .iter()
            .flat_map(|key| encode(&["HGET", key.text().expect("a key"), "hits"]));
        client.send(&sent.collect::<Vec<u8>>());
        for _ in keys {
            let hits = client.reply();
            let hits = hits.text().and_then(|hits| hits.parse::<usize>().ok());
            sum += hits.expect("a number");
        }
        cursor = page[0].text().expect("a cursor").to_owned();
        if cursor == "0" {
            return sum;
        }
    }
}

/// Adds up the hits of all nodes, all at the same time.
fn scan_all(nodes: &[Engine]) -> usize {
    thread::scope(|scope| {
        let nodes = nodes.iter();
        let nodes: Vec<_> = nodes
            .map(|node| scope.spawn(|| scan(&mut node.client())))
            .collect();
        nodes
            .into_iter()
            .map(|one| one.join().expect("a sum"))
            .sum()
    })
}

#[test]
fn statistics_over_a_cluster_are_those_that_a_client_counts() {
    let number = |variable: &str, plain: usize| {
        std::env::var(variable).map_or(plain, |text| text.parse().expect("a number"))
    };
    let keys = number("FERRITE_KEYS", KEYS);
    let primaries = number("FERRITE_PRIMARIES", PRIMARIES);
    let Some(folder) = std::env::var_os("FERRITE_EXAMPLES_DIR") else {
        return;
    };
    let path = std::path::Path::new(&folder).join("aggregate_stats.wasm");
    let source = std::fs::read(path).expect("the example is built");
    for kind in EngineKind::ends_here() {
        let nodes = cluster_of_primaries(kind, primaries, &LONG);
        let name = "aggregate_stats";
        let load = [b"WASM.LOAD", name.as_bytes(), &source, b"CLUSTER"];
        let reply = nodes[0].client().call(&load);
        assert!(reply.error().is_none(), "{reply:?}");
        for node in &nodes {
            has(node, &[name]);
        }
        let hits = fill(&nodes, keys);
        let mut words = vec!["WASM.CALLALL", name, "REDUCE", "merge_stats"];
        words.extend(["TIMEOUT", "600000"]);
        words.extend(["ARGS", "stats:*", "2024-01-01", "2024-12-31"]);
        let mut client = nodes[0].client();
        // Each node has to fetch the code first.
        until(&mut client, &words, |reply| reply.error().is_none());
        let started = Instant::now();
        let reply = client.call(&words);
        let called = started.elapsed();
        let at = |name: &str| reply.at(name).and_then(Reply::int);
        assert_eq!(at("hits"), i64::try_from(hits).ok(), "{kind:?}: {reply:?}");
        assert_eq!(at("calls"), i64::try_from(keys).ok(), "{kind:?}: {reply:?}");
        let started = Instant::now();
        assert_eq!(scan_all(&nodes), hits, "{kind:?}");
        let scanned = started.elapsed();
        println!(
            "{kind:?}: {keys} keys on {primaries} primaries: WASM.CALLALL {called:?}, SCAN and HGET of as many clients {scanned:?}"
        );
    }
}
