//! Triggers and schedules that modules declare.

use ferrite_tests::{Client, EngineKind, Reply};

use super::super::{NOTE, READ_WRITE, declaring, names, ok};
use super::{durable, next_event, run_all};
use crate::engines::cluster::{cluster, has};

fn define(client: &mut Client, lines: &str, more: &[&str]) -> Reply {
    let source = declaring(NOTE, lines);
    let words = [
        "WASM.DEFINE",
        "note",
        &source,
        "PERMISSIONS",
        READ_WRITE,
        "REPLACE",
    ];
    client.call(&[&words[..], more].concat())
}

fn loaded(reply: &Reply) {
    assert!(reply.text().is_some(), "{reply:?}");
}

const LINES: &str = "on run KEYS user:* EVENTS set\non run KEYS x EVENTS del\nevery run 1h";

#[test]
fn they_come_and_go_with_the_function() {
    for kind in EngineKind::here() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let mut engine = durable(kind, dir.path());
        let mut client = engine.client();
        let before = define(&mut client, "on run KEYS a EVENTS set BEFORE", &[]);
        let error = before.error().unwrap_or_default();
        assert!(
            error.starts_with("INVALID the module declares"),
            "{kind:?}: {before:?}"
        );
        loaded(&define(&mut client, LINES, &[]));
        run_all(
            &mut client,
            &["WASM.TRIGGER ADD mine note KEYS own:* EVENTS set"],
        );
        assert_eq!(
            names(&mut client, "WASM.TRIGGER"),
            ["mine", "note:run", "note:run:2"]
        );
        assert_eq!(names(&mut client, "WASM.SCHEDULE"), ["note:run"]);
        assert_eq!(client.run("SET user:1 a"), ok());
        assert_eq!(
            next_event(&mut client),
            "user:1|set|unknown||string|a|note:run"
        );
        loaded(&define(&mut client, "on run KEYS user:* EVENTS set", &[]));
        assert_eq!(names(&mut client, "WASM.TRIGGER"), ["mine", "note:run"]);
        assert_eq!(names(&mut client, "WASM.SCHEDULE"), [""; 0]);
        engine.kill();
        let engine = durable(kind, dir.path());
        let mut client = engine.client();
        assert_eq!(
            names(&mut client, "WASM.TRIGGER"),
            ["mine", "note:run"],
            "{kind:?}"
        );
        let list = client.run("WASM.TRIGGER LIST");
        let origin = list.elements().and_then(|list| list[1].at("from")?.text());
        assert_eq!(origin, Some("module"));
        assert_eq!(client.run("WASM.UNLOAD note"), ok());
        assert_eq!(names(&mut client, "WASM.TRIGGER"), ["mine"], "{kind:?}");
    }
}

#[test]
fn a_user_who_may_add_none_cannot_load_them() {
    for kind in EngineKind::here() {
        let engine = kind.start();
        let mut client = engine.client();
        run_all(&mut client, &["ACL SETUSER dev on >secret ~* +wasm.define"]);
        let mut dev = engine.client();
        assert_eq!(dev.run("AUTH dev secret"), ok());
        let reply = define(&mut dev, LINES, &[]);
        let error = reply.error().unwrap_or_default();
        assert!(
            error.starts_with("NOPERM the module declares"),
            "{kind:?}: {reply:?}"
        );
        run_all(
            &mut client,
            &["ACL SETUSER dev +wasm.trigger +wasm.schedule"],
        );
        loaded(&define(&mut dev, LINES, &[]));
    }
}

/// The scripting engine keeps its functions under no name that a trigger could call.
#[test]
fn a_library_of_the_engine_is_refused_with_them() {
    for kind in EngineKind::with_scripting_engines() {
        let engine = kind.start();
        let mut client = engine.client();
        let code = format!("#!wasm name=lib\n{}", declaring(NOTE, LINES));
        let reply = client.call(&["FUNCTION", "LOAD", &code]);
        let error = reply.error().unwrap_or_default();
        assert!(
            error.contains("load the module with WASM.LOAD"),
            "{kind:?}: {reply:?}"
        );
    }
}

#[test]
fn a_cluster_has_them_everywhere() {
    for kind in EngineKind::ends_here() {
        let nodes = cluster(kind);
        let mut first = nodes[0].client();
        loaded(&define(&mut first, LINES, &["CLUSTER"]));
        for node in &nodes {
            has(node, &["note"]);
            let mut client = node.client();
            while names(&mut client, "WASM.TRIGGER").len() != 2 {}
            while names(&mut client, "WASM.SCHEDULE").len() != 1 {}
        }
        assert_eq!(first.run("WASM.UNLOAD note CLUSTER"), ok());
        for node in &nodes {
            let mut client = node.client();
            while !names(&mut client, "WASM.TRIGGER").is_empty() {}
            while !names(&mut client, "WASM.SCHEDULE").is_empty() {}
        }
    }
}
