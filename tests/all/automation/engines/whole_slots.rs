//! Events that wait in slots that Valkey moves as a whole: none is lost, none is doubled, and none is made up of keys
//! that arrive or go.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ferrite_tests::{Client, Engine, EngineKind, Reply};

use super::super::{FAIL, Finish, ok};
use super::moving::{BESIDE, Written, noted, tags, write};
use super::{READ_WRITE, count};
use crate::engines::cluster::{
    PRIMARIES, cluster, cluster_of_primaries, define_everywhere, has, id, move_slot_at_once,
    owner_of, slot_of,
};
use crate::engines::until;

/// Longer than the last events take.
const PATIENCE: Duration = Duration::from_secs(60);

/// The events that removed keys cause, or restored ones.
const MADE_UP: &str = "made_up";

/// The kind that moves slots as a whole, if it is here.
fn valkey() -> Option<EngineKind> {
    let kind = EngineKind::Valkey;
    EngineKind::here().contains(&kind).then_some(kind)
}

/// Defines a function that fails, and two triggers for it: `t` gets what clients write to keys such as `{a}0`, and the
/// other one what they never do to them.
fn add_triggers(nodes: &[Engine]) {
    let mut first = nodes[0].client();
    define_everywhere(&mut first, "beside", FAIL);
    for node in nodes {
        has(node, &["beside"]);
    }
    for trigger in [
        "t beside KEYS {?}? EVENTS set".to_owned(),
        format!("{MADE_UP} beside KEYS {{?}}* EVENTS del restore expired evicted new"),
    ] {
        assert_eq!(first.run(&format!("WASM.TRIGGER ADD {trigger}")), ok());
    }
    for node in nodes {
        until(&mut node.client(), &["WASM.TRIGGER", "LIST"], |list| {
            list.elements().is_some_and(|list| list.len() == 2)
        });
    }
}

/// Lets the function note the values of its events.
fn mend(client: &mut Client) {
    let words = ["WASM.DEFINE", "beside", BESIDE, "PERMISSIONS", READ_WRITE];
    let mended = client.call(&[&words[..], &["REPLACE", "CLUSTER"]].concat());
    assert!(mended.error().is_none(), "{mended:?}");
}

/// Waits until every value that was written is noted, and checks that each is noted once and in order.
fn check_notes(nodes: &[Engine], written: &Written) {
    let started = Instant::now();
    for (key, values) in written {
        let done: Vec<u32> = values.iter().filter(|one| one.1).map(|one| one.0).collect();
        loop {
            let noted = noted(nodes, key);
            if noted == done {
                break;
            }
            assert!(
                noted.len() < done.len() && started.elapsed() < PATIENCE,
                "{key}: {done:?} were written, {noted:?} noted"
            );
        }
    }
}

/// The sum of a figure of a trigger over nodes.
fn sum(nodes: &[Engine], trigger: &str, field: &str) -> i64 {
    let nodes = nodes.iter();
    nodes
        .map(|node| count(&mut node.client(), trigger, field))
        .sum()
}

fn done(written: &Written) -> i64 {
    let values = written.values().flatten();
    i64::try_from(values.filter(|one| one.1).count()).expect("a count")
}

#[test]
fn no_event_is_lost_or_doubled_while_slots_move_and_clients_write() {
    let Some(kind) = valkey() else { return };
    let nodes = cluster_of_primaries(kind, PRIMARIES, &[]);
    add_triggers(&nodes);
    let tags = tags(&nodes);
    let keys = tags
        .iter()
        .flat_map(|tag| (0..3).map(move |key| format!("{{{tag}}}{key}")));
    let mut written: Written = keys.map(|key| (key, Vec::new())).collect();
    for _ in 0..5 {
        write(&nodes, &mut written);
    }
    let slots = tags.each_ref().map(|tag| slot_of(&nodes, tag));
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let (nodes, stop, written) = (&nodes, &stop, &mut written);
        scope.spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                write(nodes, written);
            }
        });
        let _finish = Finish(stop);
        move_slot_at_once(nodes, slots[0], 0, 1);
        mend(&mut nodes[2].client());
        // Events are delivered while their slot moves.
        move_slot_at_once(nodes, slots[1], 1, 2);
        move_slot_at_once(nodes, slots[2], 2, 0);
        move_slot_at_once(nodes, slots[0], 1, 2);
    });
    check_notes(&nodes, &written);
    assert_eq!(sum(&nodes, "t", "occurred"), done(&written));
    assert_eq!(sum(&nodes, "t", "delivered"), done(&written));
    assert_eq!(sum(&nodes, "t", "given_up"), 0);
    assert_eq!(sum(&nodes, MADE_UP, "occurred"), 0);
    for node in &nodes {
        until(&mut node.client(), &["KEYS", "ferrite:events*"], |keys| {
            keys.elements().is_some_and(<[_]>::is_empty)
        });
    }
}

#[test]
fn a_move_that_fails_leaves_everything_as_it_was() {
    let Some(kind) = valkey() else { return };
    let nodes = cluster_of_primaries(kind, 2, &[]);
    add_triggers(&nodes);
    let slot = slot_of(&nodes, "a");
    let owner = owner_of(slot, 2);
    let [mut source, mut target] = [owner, 1 - owner].map(|node| nodes[node].client());
    let keys = ["{a}0".to_owned(), "{a}1".to_owned()];
    let mut written: Written = keys.into_iter().map(|key| (key, Vec::new())).collect();
    write(&nodes, &mut written);
    // All keys are on their way, and the slot stays.
    assert_eq!(source.run("DEBUG SLOTMIGRATION PREVENT-PAUSE 1"), ok());
    let (text, to) = (slot.to_string(), id(&nodes[1 - owner]));
    let words = [
        "CLUSTER",
        "MIGRATESLOTS",
        "SLOTSRANGE",
        &text,
        &text,
        "NODE",
        &to,
    ];
    assert_eq!(source.call(&words), ok());
    let moves = ["CLUSTER", "GETSLOTMIGRATIONS"];
    let is_in = |state: &'static str| {
        move |moves: &Reply| {
            let first = moves.elements().and_then(<[_]>::first);
            first.and_then(|first| first.at("state")?.text()) == Some(state)
        }
    };
    until(&mut source, &moves, is_in("waiting-to-pause"));
    for _ in 0..5 {
        write(&nodes, &mut written);
    }
    // What is written meanwhile comes along, and is neither shown nor delivered there.
    assert_eq!(target.run("KEYS *"), Reply::Array(Vec::new()));
    assert_eq!(source.run("CLUSTER CANCELSLOTMIGRATIONS"), ok());
    until(&mut target, &moves, is_in("failed"));
    for trigger in ["t", MADE_UP] {
        for field in ["occurred", "pending", "failures", "given_up"] {
            assert_eq!(count(&mut target, trigger, field), 0, "{trigger} {field}");
        }
    }
    assert_eq!(count(&mut source, "t", "pending"), done(&written));
    mend(&mut source);
    check_notes(&nodes, &written);
    assert_eq!(count(&mut source, "t", "delivered"), done(&written));
    assert_eq!(sum(&nodes, MADE_UP, "occurred"), 0);
    assert_eq!(count(&mut target, "t", "delivered"), 0);
}

#[test]
fn a_replica_of_the_new_node_goes_on_with_the_events() {
    let Some(kind) = valkey() else { return };
    let nodes = cluster(kind);
    add_triggers(&nodes);
    let tag = &tags(&nodes)[0];
    let mut written: Written = [(format!("{{{tag}}}0"), Vec::new())].into();
    for _ in 0..3 {
        write(&nodes, &mut written);
    }
    move_slot_at_once(&nodes, slot_of(&nodes, tag), 0, 1);
    write(&nodes, &mut written);
    let replica = &nodes[1 + PRIMARIES];
    assert_eq!(replica.client().run("CLUSTER FAILOVER"), ok());
    until(&mut replica.client(), &["ROLE"], |role| {
        role.elements()
            .is_some_and(|role| role[0].text() == Some("master"))
    });
    mend(&mut nodes[2].client());
    check_notes(&nodes, &written);
    assert_eq!(sum(&nodes, MADE_UP, "occurred"), 0);
    assert_eq!(count(&mut replica.client(), "t", "delivered"), 4);
}
