//! The functions that several servers keep in one engine.

use std::collections::BTreeSet;

use ferrite_tests::Reply;

use super::{COUNT, TALLY, before, define, engine, on_each};
use crate::engines::until;

#[test]
fn servers_share_their_functions_through_the_engine() {
    on_each(|kind| {
        let engine = engine(kind);
        let (one, other) = (before(&engine).start(), before(&engine).start());
        let (mut one, mut other) = (one.client(), other.client());
        define(&mut one, "count", COUNT);
        let call = ["WASM.CALL", "count", "KEYS", "k"];
        let loaded = |reply: &Reply| reply.int().is_some();
        assert_eq!(until(&mut other, &call, loaded), Reply::Int(1));
        // A change is seen before another change is made.
        let again = other.call(&["WASM.DEFINE", "count", COUNT]);
        assert!(
            again
                .error()
                .is_some_and(|error| error.starts_with("EXISTS")),
            "{again:?}"
        );
        assert_eq!(
            other.run("WASM.UNLOAD count"),
            Reply::Simple("OK".to_owned())
        );
        until(&mut one, &call, |reply| reply.error().is_some());
        define(&mut other, "count", TALLY);
        // A server that starts later has it from the start.
        let late = before(&engine).start();
        assert_eq!(late.client().run("WASM.CALL count").int(), Some(1));
    });
}

#[test]
fn removing_all_keys_removes_no_function() {
    const ROUNDS: usize = 15;
    const FLUSHES: usize = 1000;
    on_each(|kind| {
        let engine = engine(kind);
        let mut direct = engine.client();
        let servers = [before(&engine).start(), before(&engine).start()];
        let mut clients = servers.each_ref().map(ferrite_tests::Server::client);
        define(&mut clients[0], "kept", COUNT);
        let call = ["WASM.CALL", "kept", "KEYS", "k"];
        until(&mut clients[1], &call, |reply| reply.int().is_some());
        for round in 0..ROUNDS {
            direct.run("FLUSHALL");
            // What somebody loads now is not all that there is.
            if round % 3 > 0 {
                let one = round % 2;
                let name = format!("new-{round}");
                define(&mut clients[one], &name, COUNT);
                let reply = clients[one].call(&["WASM.CALL", &name, "KEYS", "k"]);
                assert!(reply.int().is_some(), "{name} in round {round}: {reply:?}");
            }
            for client in &mut clients {
                let reply = client.call(&call);
                assert!(reply.int().is_some(), "round {round}: {reply:?}");
            }
        }
        // Also while they are being stored again.
        std::thread::scope(|scope| {
            let flushing = scope.spawn(|| {
                for _ in 0..FLUSHES {
                    direct.run("FLUSHALL");
                }
            });
            while !flushing.is_finished() {
                for client in &mut clients {
                    let reply = client.call(&call);
                    let error = reply.error().unwrap_or_default();
                    assert!(!error.starts_with("NOFUNC"), "{error}");
                }
            }
        });
        let all: BTreeSet<String> = (0..ROUNDS)
            .filter(|round| round % 3 > 0)
            .map(|round| format!("new-{round}"))
            .chain(["kept".to_owned()])
            .collect();
        for client in &mut clients {
            until(client, &["WASM.LIST"], |reply| names(reply) == all);
        }
        // They are in the engine again, so that a server that starts later has them.
        until(&mut direct, &["HKEYS", "ferrite:{functions}"], |reply| {
            all.is_subset(&texts(reply))
        });
        let late = before(&engine).start();
        assert_eq!(names(&late.client().run("WASM.LIST")), all);
    });
}

/// Returns the texts of an array.
fn texts(reply: &Reply) -> BTreeSet<String> {
    let Reply::Array(items) = reply else {
        panic!("no array: {reply:?}");
    };
    let texts = items.iter().filter_map(Reply::text);
    texts.map(str::to_owned).collect()
}

/// Returns the names in a list of functions.
fn names(list: &Reply) -> BTreeSet<String> {
    let Reply::Array(items) = list else {
        panic!("no list: {list:?}");
    };
    let names = items.iter().filter_map(|one| one.at("name")?.text());
    names.map(str::to_owned).collect()
}

/// In front of an engine there are no triggers, so a module that declares some is refused.
#[test]
fn a_module_that_declares_triggers_is_refused() {
    on_each(|kind| {
        let engine = engine(kind);
        let server = before(&engine).start();
        let mut client = server.client();
        let source = r#"(module
          (@custom "ferrite.automation" "on run KEYS a EVENTS set")
          (func (export "run")))"#;
        let reply = client.call(&["WASM.DEFINE", "f", source]);
        let error = reply.error().unwrap_or_default();
        assert!(
            error.starts_with(
                "INVALID the module declares 'on run KEYS a EVENTS set': this server has no"
            ),
            "{reply:?}"
        );
    });
}
