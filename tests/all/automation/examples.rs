//! The examples of functions that run by themselves, with the triggers and schedules that they declare.

#![allow(clippy::print_stderr, reason = "a skipped test says why")]

use std::path::Path;

use ferrite_tests::{Client, EngineKind, Reply, Server};

use super::{names, ok};
use crate::engines::until;

/// Loads an example under its own name; `None` if none are built.
fn load(client: &mut Client, name: &str) -> Option<Reply> {
    let Some(built) = std::env::var_os("FERRITE_EXAMPLES_DIR") else {
        eprintln!("skipped: FERRITE_EXAMPLES_DIR names no built examples");
        return None;
    };
    let wasm = std::fs::read(Path::new(&built).join(format!("{name}.wasm"))).expect("it is built");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let permissions = folder.join(name).join("permissions.json");
    let permissions = std::fs::read_to_string(permissions).expect("it is there");
    let words: [&[u8]; 5] = [
        b"WASM.LOAD",
        name.as_bytes(),
        &wasm,
        b"PERMISSIONS",
        permissions.as_bytes(),
    ];
    Some(client.call(&words))
}

fn text(client: &mut Client, line: &str) -> Option<String> {
    client.run(line).text().map(str::to_owned)
}

/// Each function does its work by itself, and the roll-up also when its time comes.
fn run_by_themselves(client: &mut Client, tells_old_values: bool) {
    assert_eq!(
        names(client, "WASM.TRIGGER"),
        ["automation:forget_page", "automation:release"]
    );
    assert_eq!(names(client, "WASM.SCHEDULE"), ["automation:roll_up"]);
    let list = client.run("WASM.SCHEDULE LIST");
    let nightly = &list.elements().expect("a list")[0];
    assert_eq!(
        nightly.at("when").and_then(Reply::text),
        Some("CRON 5 0 * * *")
    );
    let next = nightly.at("next").and_then(Reply::int).expect("a time");
    assert_eq!(next % 86_400_000, 300_000, "five past midnight, UTC");

    assert_eq!(client.run("SET page:7 html"), ok());
    assert_eq!(client.run("HSET product:7 name lamp"), Reply::Int(1));
    until(client, &["EXISTS", "page:7"], |reply| {
        *reply == Reply::Int(0)
    });

    assert_eq!(client.run("SET session:1 lamp PX 20"), ok());
    if tells_old_values {
        until(client, &["GET", "stock:lamp"], |reply| {
            reply.text() == Some("1")
        });
    } else {
        until(
            client,
            &["WASM.TRIGGER", "INFO", "automation:release"],
            |info| info.at("delivered") == Some(&Reply::Int(1)),
        );
    }

    assert_eq!(client.run("SET sales:2024-01-15:east 3"), ok());
    assert_eq!(client.run("SET sales:2024-01-15:west 4"), ok());
    let now = "WASM.SCHEDULE ADD now automation.roll_up EVERY 10ms ARGS 2024-01-15";
    assert_eq!(client.run(now), ok());
    let report = ["HGET", "report:2024-01-15", "west"];
    until(client, &report, |reply| reply.text() == Some("4"));
    assert_eq!(
        text(client, "HGET report:2024-01-15 east").as_deref(),
        Some("3")
    );
    assert_eq!(client.run("EXISTS sales:2024-01-15:east"), Reply::Int(0));
}

#[test]
fn a_server_runs_them() {
    let server = Server::start();
    let mut client = server.client();
    let Some(loaded) = load(&mut client, "automation") else {
        return;
    };
    assert!(loaded.text().is_some(), "{loaded:?}");
    run_by_themselves(&mut client, true);
}

#[test]
fn engines_run_them() {
    for kind in EngineKind::here() {
        let engine = kind.start();
        let mut client = engine.client();
        let Some(loaded) = load(&mut client, "automation") else {
            return;
        };
        assert!(loaded.text().is_some(), "{kind:?}: {loaded:?}");
        run_by_themselves(&mut client, !matches!(kind, EngineKind::Redis));
    }
}

#[test]
fn the_index_is_never_out_of_date() {
    let server = Server::start();
    let mut client = server.client();
    let Some(loaded) = load(&mut client, "secondary_index") else {
        return;
    };
    assert!(loaded.text().is_some(), "{loaded:?}");
    let is_in = |client: &mut Client, city: &str| {
        client.call(&["SISMEMBER", &format!("city:{city}"), "user:1"]) == Reply::Int(1)
    };
    client.run("HSET user:1 name Ann city Bern");
    assert!(is_in(&mut client, "Bern"));
    client.run("HSET user:1 city Basel");
    assert!(is_in(&mut client, "Basel") && !is_in(&mut client, "Bern"));
    client.run("HDEL user:1 city");
    assert!(!is_in(&mut client, "Basel"));
    let refused = client.run("SET user:1 text");
    let error = refused.error().unwrap_or_default();
    assert!(error.starts_with("BADUSER user:1"), "{refused:?}");
    client.run("HSET user:1 city Bern");
    assert_eq!(client.run("PEXPIRE user:1 20"), Reply::Int(1));
    until(&mut client, &["EXISTS", "city:Bern"], |reply| {
        *reply == Reply::Int(0)
    });
}
