//! Clients of an engine are paused, by `CLIENT PAUSE` or because a replica takes over. The engine aborts if
//! anything is replicated then.

use ferrite_tests::{EngineKind, Reply};

use super::cluster::{cluster, define_everywhere, has};
use super::until;
use crate::support::guests::COUNT;

#[test]
fn changes_wait_while_clients_are_paused() {
    for kind in EngineKind::ends_here() {
        let nodes = cluster(kind);
        let mut paused = nodes[1].client();
        assert_eq!(
            paused.run("CLIENT PAUSE 800 WRITE"),
            Reply::Simple("OK".into())
        );
        // The cluster tells the paused node of these.
        let mut other = nodes[0].client();
        define_everywhere(&mut other, "count", COUNT);
        assert_eq!(
            other.run("WASM.TRIGGER ADD t count KEYS k* EVENTS set"),
            Reply::Simple("OK".into())
        );
        // These are for the paused node itself, and it answers them afterwards.
        let defined = paused.call(&["WASM.DEFINE", "here", COUNT]);
        assert!(defined.text().is_some(), "{kind:?}: {defined:?}");
        assert_eq!(
            paused.run("WASM.TRIGGER ADD u here KEYS k* EVENTS set"),
            Reply::Simple("OK".into())
        );
        has(&nodes[1], &["count", "here"]);
        for node in &nodes[..2] {
            until(&mut node.client(), &["WASM.TRIGGER", "LIST"], |triggers| {
                triggers.elements().is_some_and(|all| all.len() == 2)
            });
        }
    }
}
