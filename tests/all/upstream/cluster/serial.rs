//! Calls of several servers before a cluster have a serial order, while the slot of their keys moves.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use ferrite_tests::Reply;

use super::moving::migrate;
use super::{PRIMARIES, before, define, nodes, on_each, owner};
use crate::engines::cluster::routed;
use crate::upstream::all_keys::{SWEEP, scan};
use crate::upstream::concurrent::{KEYS, MARK, call_on, check, numbers};

#[test]
fn calls_have_a_serial_order_while_their_slot_moves() {
    const MOVES: usize = 4;
    const BETWEEN: usize = 60;
    on_each(|kind| {
        let nodes = nodes(kind, false);
        let servers = [before(&nodes).start(), before(&nodes).start()];
        for server in &servers {
            define(&mut server.client(), "mark", MARK);
        }
        let (clock, enough) = (AtomicUsize::new(1), AtomicBool::new(false));
        let history = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for seed in 0..4_u64 {
                let (clock, enough, history, servers) = (&clock, &enough, &history, &servers);
                scope.spawn(move || {
                    let server = &servers[seed as usize % servers.len()];
                    let connect = || Some(server.client());
                    call_on(&connect, "{k}:", seed, clock, enough, history);
                });
            }
            let len = || history.lock().expect("no panic").len();
            for _ in 0..MOVES {
                let done = len();
                while len() < done + BETWEEN {
                    std::thread::yield_now();
                }
                let from = owner(&nodes, "{k}:0");
                migrate(&nodes, "{k}:0", from, (from + 1) % PRIMARIES);
            }
            enough.store(true, Ordering::SeqCst);
        });
        let last: Vec<Vec<usize>> = (0..KEYS)
            .map(
                |key| match routed(&nodes, &["GET", &format!("{{k}}:{key}")]) {
                    Some(Reply::Bulk(text)) => numbers(&text),
                    _ => Vec::new(),
                },
            )
            .collect();
        check(&history.into_inner().expect("no panic"), &last);
    });
}

#[test]
fn functions_list_the_keys_of_all_primaries() {
    on_each(|kind| {
        let nodes = nodes(kind, false);
        let server = before(&nodes).start();
        let mut client = server.client();
        define(&mut client, "any", include_str!("../guests/any.wat"));
        define(&mut client, "sweep", SWEEP);
        for key in 0..60 {
            client.run(&format!("SET key:{key} 1"));
        }
        assert_eq!(scan(&mut client, "MATCH key:* COUNT 7").len(), 60);
        let listed = client.run("FCALL any 0 KEYS key:*");
        assert_eq!(listed.elements().map(<[_]>::len), Some(60), "{kind:?}");
        let size = client.run("FCALL any 0 DBSIZE").int();
        assert_eq!(size, client.run("DBSIZE").int());
        assert!(client.run("FCALL any 0 RANDOMKEY").text().is_some());
        // Keys of one slot can be read and written, and those of several cannot.
        client.run("MSET {n}:1 1 {n}:2 2");
        assert_eq!(client.run("WASM.CALL sweep ARGS {n}:*"), Reply::Int(2));
        let texts = client.run("MGET {n}:1 {n}:2");
        let texts: Option<Vec<_>> = texts
            .elements()
            .map(|all| all.iter().map(Reply::text).collect());
        assert_eq!(texts, Some(vec![Some("2"), Some("3")]));
        let reply = client.run("WASM.CALL sweep ARGS key:*");
        let error = reply.error().unwrap_or_default();
        assert!(error.starts_with("CROSSSLOT"), "{kind:?}: {reply:?}");
        assert_eq!(client.run("GET key:1").text(), Some("1"));
    });
}
