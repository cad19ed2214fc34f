//! Events that wait while slots move key by key and a replica takes over: none is lost, and each takes effect once.
//!
//! With `FERRITE_WRITE_WHILE_MOVING=1`, a client also writes meanwhile. An event that comes while its slot is on
//! its way may stay on the old node, and is then given up there; such a run takes up to a minute.

#![allow(clippy::print_stdout, reason = "the test says what it counted")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ferrite_tests::{Engine, EngineKind, Reply};

use super::super::{FAIL, Finish, ok};
use super::{READ_WRITE, count};
use crate::engines::cluster::{
    PRIMARIES, cluster, define_everywhere, first_owner, has, move_slot, routed, slot_of,
};
use crate::engines::until;

/// Longer than ten tries take.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) const BESIDE: &str = include_str!("beside.wat");

/// A tag of a node's own slot, for each of the three things that happen.
pub(super) fn tags(nodes: &[Engine]) -> [String; PRIMARIES] {
    std::array::from_fn(|owner| {
        let mut letters = ('a'..='z').map(String::from);
        letters
            .find(|letter| first_owner(slot_of(nodes, letter)) == owner)
            .expect("one of these letters")
    })
}

/// Values that were written to each key, with true for those that were acknowledged.
pub(super) type Written = BTreeMap<String, Vec<(u32, bool)>>;

/// Writes the next number to each key.
pub(super) fn write(nodes: &[Engine], written: &mut Written) {
    for (key, values) in written {
        let next = values.len() as u32;
        let done = routed(nodes, &["SET", key, &next.to_string()]) == Some(ok());
        values.push((next, done));
    }
}

#[test]
fn no_event_is_lost_while_slots_move_and_a_replica_takes_over() {
    for kind in EngineKind::ends_here() {
        let nodes = cluster(kind);
        let mut first = nodes[0].client();
        define_everywhere(&mut first, "beside", FAIL);
        for node in &nodes {
            has(node, &["beside"]);
        }
        let add = "WASM.TRIGGER ADD t beside KEYS {?}? EVENTS set";
        assert_eq!(first.run(add), ok());
        for node in &nodes {
            until(&mut node.client(), &["WASM.TRIGGER", "LIST"], |list| {
                list.elements().is_some_and(|list| list.len() == 1)
            });
        }
        let tags = tags(&nodes);
        let keys = tags
            .iter()
            .flat_map(|tag| (0..3).map(move |key| format!("{{{tag}}}{key}")));
        let mut written: Written = keys.map(|key| (key, Vec::new())).collect();
        for _ in 0..5 {
            write(&nodes, &mut written);
        }
        let writes = std::env::var_os("FERRITE_WRITE_WHILE_MOVING").is_some();
        let slots = tags.each_ref().map(|tag| slot_of(&nodes, tag));
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            let (nodes, stop, written) = (&nodes, &stop, &mut written);
            let writer = scope.spawn(move || {
                while writes && !stop.load(Ordering::Relaxed) {
                    write(nodes, written);
                }
            });
            {
                let _finish = Finish(stop);
                move_slot(nodes, slots[0], 1);
                move_slot(nodes, slots[1], 2);
                let replica = &nodes[2 + PRIMARIES];
                assert_eq!(replica.client().run("CLUSTER FAILOVER"), ok());
                until(&mut replica.client(), &["ROLE"], |role| {
                    role.elements()
                        .is_some_and(|role| role[0].text() == Some("master"))
                });
            }
            writer.join().expect("no failure");
        });
        // Mended: the events that waited are delivered where their keys are now.
        let words = ["WASM.DEFINE", "beside", BESIDE, "PERMISSIONS", READ_WRITE];
        let mended = first.call(&[&words[..], &["REPLACE", "CLUSTER"]].concat());
        assert!(mended.error().is_none(), "{mended:?}");
        let is_done = |values: &[(u32, bool)]| values.iter().filter(|one| one.1).count();
        let done: usize = written.values().map(|values| is_done(values)).sum();
        let started = Instant::now();
        let (noted, given_up) = loop {
            let noted: BTreeMap<&String, Vec<u32>> = written
                .keys()
                .map(|key| (key, noted(&nodes, key)))
                .collect();
            let given_up: i64 = [0, 1, 2, 2 + PRIMARIES]
                .iter()
                .map(|&node| count(&mut nodes[node].client(), "t", "given_up"))
                .sum();
            let ended = noted.values().map(Vec::len).sum::<usize>()
                + usize::try_from(given_up).expect("a count");
            if ended >= done {
                break (noted, given_up);
            }
            assert!(
                started.elapsed() < PATIENCE,
                "{kind:?}: {given_up} of {done} were given up: {noted:?}"
            );
        };
        let mut kept = 0;
        for (key, noted) in &noted {
            assert!(
                noted.is_sorted_by(|one, next| one < next),
                "{kind:?} {key} is noted twice or out of order: {noted:?}"
            );
            let values = written[*key].iter();
            kept += values
                .filter(|(value, done)| *done && noted.contains(value))
                .count();
        }
        println!(
            "{kind:?}: {done} writes were acknowledged, {kept} of their events were noted, {given_up} events were given up"
        );
        let missing = i64::try_from(done - kept).expect("a count");
        assert!(missing <= given_up, "{kind:?}: {missing} events are lost");
        assert!(
            writes || missing == 0,
            "{kind:?}: {missing} events were given up, as they are after ten tries in 13 seconds: {noted:?}"
        );
        for node in nodes.iter().filter(|_| !writes) {
            until(&mut node.client(), &["KEYS", "ferrite:events*"], |keys| {
                keys.elements().is_some_and(<[_]>::is_empty)
            });
        }
    }
}

/// Returns the values of a key that the function noted, in their order.
pub(super) fn noted(nodes: &[Engine], key: &str) -> Vec<u32> {
    let log = format!("{key}.log");
    loop {
        if let Some(noted) = routed(nodes, &["LRANGE", &log, "0", "-1"]) {
            let noted = noted.elements().expect("a list").iter();
            return noted
                .filter_map(|one: &Reply| one.text()?.parse().ok())
                .collect();
        }
    }
}
