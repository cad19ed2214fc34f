//! The commands about connections and the server itself.

use std::collections::BTreeSet;

use ferrite_tests::{Reply, Server};

use crate::support::guests::{ENDLESS, LONG_CALLS};
use crate::support::waiting::{wait_for_call, wait_until};

fn ok() -> Reply {
    Reply::Simple("OK".into())
}

fn bulk(text: &str) -> Reply {
    Reply::Bulk(text.as_bytes().to_vec())
}

#[test]
fn clients_are_named_and_listed() {
    let server = Server::start();
    let mut client = server.client();
    let mut other = server.client();
    assert_eq!(client.run("CLIENT GETNAME"), Reply::Null);
    assert_eq!(client.run("CLIENT SETNAME worker"), ok());
    assert_eq!(client.run("CLIENT GETNAME"), bulk("worker"));
    assert!(
        client
            .call(&["CLIENT", "SETNAME", "two words"])
            .error()
            .is_some()
    );
    assert_eq!(client.run("CLIENT SETINFO LIB-NAME test"), ok());
    let id = client.run("CLIENT ID").int().expect("a number");
    assert_ne!(other.run("CLIENT ID").int(), Some(id));
    let list = other.run("CLIENT LIST");
    let list = list.text().expect("text");
    assert_eq!(list.lines().count(), 2, "{list}");
    let line = list
        .lines()
        .find(|line| line.starts_with(&format!("id={id} ")))
        .expect("a line");
    assert!(
        line.contains(" name=worker ") && line.contains(" lib-name=test "),
        "{line}"
    );
    assert!(
        line.contains(&format!(" addr={} ", client.local_address())),
        "{line}"
    );
    assert!(line.contains(" cmd=client "), "{line}");
    assert_eq!(client.run("CLIENT NO-EVICT ON"), ok());
    assert!(client.run("CLIENT FLY").error().is_some());
}

#[test]
fn wait_counts_no_replicas_and_refuses_odd_times() {
    let server = Server::start();
    let mut client = server.client();
    for (request, error) in [
        ("WAIT x 0", "ERR value is not an integer or out of range"),
        ("WAIT 0 x", "ERR timeout is not an integer or out of range"),
        (
            "WAIT 0 1.5",
            "ERR timeout is not an integer or out of range",
        ),
        ("WAIT 0 -1", "ERR timeout is negative"),
        ("WAIT 0 9223372036854775807", "ERR timeout is out of range"),
    ] {
        assert_eq!(client.run(request), Reply::Error(error.into()), "{request}");
    }
    assert_eq!(client.run("WAIT 1 0"), Reply::Int(0));
}

#[test]
fn client_kill_ends_connections_and_their_calls() {
    let server = Server::builder().arguments(&LONG_CALLS).start();
    let mut admin = server.client();
    let reply = admin.call(&["WASM.DEFINE", "endless", ENDLESS]);
    assert!(reply.error().is_none(), "{reply:?}");
    let mut busy = server.client();
    let id = busy.run("CLIENT ID").int().expect("a number");
    busy.send(b"WASM.CALL endless\r\n");
    wait_for_call(&mut admin);
    assert_eq!(admin.run(&format!("CLIENT KILL ID {id}")), Reply::Int(1));
    // It is gone at once, though its call may take some time to end.
    assert_eq!(admin.run(&format!("CLIENT KILL ID {id}")), Reply::Int(0));
    assert_eq!(admin.run(&format!("CLIENT LIST ID {id}")), bulk(""));
    assert_eq!(busy.next(), None);
    wait_until(&mut admin, "running_calls:0\r\n");
    assert_eq!(admin.run(&format!("CLIENT KILL ID {id}")), Reply::Int(0));
    let own = format!("CLIENT KILL {}", admin.local_address());
    assert_eq!(admin.run(&own), ok());
    assert_eq!(admin.next(), None);
}

#[test]
fn a_client_that_goes_away_ends_its_call() {
    let server = Server::builder().arguments(&LONG_CALLS).start();
    let mut client = server.client();
    let reply = client.call(&["WASM.DEFINE", "endless", ENDLESS]);
    assert!(reply.error().is_none(), "{reply:?}");
    let mut busy = server.client();
    // Further requests wait behind the call; they must not hide that the client has disconnected.
    busy.send(b"WASM.CALL endless\r\nPING\r\nPING\r\n");
    wait_for_call(&mut client);
    drop(busy);
    wait_until(&mut client, "running_calls:0\r\n");
}

#[test]
fn what_was_answered_before_a_long_call_is_sent_at_once() {
    let server = Server::builder().arguments(&LONG_CALLS).start();
    let mut client = server.client();
    let reply = client.call(&["WASM.DEFINE", "endless", ENDLESS]);
    assert!(reply.error().is_none(), "{reply:?}");
    client.send(b"SET k v\r\nGET k\r\nWASM.CALL endless\r\n");
    assert_eq!(client.reply(), ok());
    assert_eq!(client.reply(), bulk("v"));
}

#[test]
fn reset_takes_the_connection_back_to_its_beginning() {
    let server = Server::start();
    let mut client = server.client();
    assert_eq!(client.run("SELECT 5"), ok());
    assert_eq!(client.run("CLIENT SETNAME worker"), ok());
    assert_eq!(client.run("SET k 5"), ok());
    assert_eq!(client.run("RESET"), Reply::Simple("RESET".into()));
    assert_eq!(client.run("GET k"), Reply::Null);
    assert_eq!(client.run("CLIENT GETNAME"), Reply::Null);
    assert_eq!(
        client.run("SELECT 16"),
        Reply::Error("ERR DB index is out of range".into())
    );
    assert!(client.run("SELECT one").error().is_some());
}

#[test]
fn every_command_is_told_once_and_documented() {
    let server = Server::start();
    let mut client = server.client();
    let all = client.run("COMMAND");
    let all = all.elements().expect("an array");
    let names: BTreeSet<&str> = all
        .iter()
        .map(|entry| {
            entry.elements().expect("an array")[0]
                .text()
                .expect("a name")
        })
        .collect();
    assert_eq!(names.len(), all.len(), "a name stands twice");
    for name in [
        "get",
        "ping",
        "hello",
        "wasm.call",
        "fcall",
        "wasm.load",
        "client",
        "hset",
    ] {
        assert!(names.contains(name), "{name}");
    }
    assert_eq!(
        client.run("COMMAND COUNT").int(),
        i64::try_from(all.len()).ok()
    );
    let listed = client.run("COMMAND LIST FILTERBY PATTERN wasm.*");
    let listed = listed.elements().expect("an array");
    assert!(
        listed.len() > 10 && listed.contains(&bulk("wasm.call")),
        "{listed:?}"
    );

    let info = client.run("COMMAND INFO get nosuch");
    let info = info.elements().expect("an array");
    let get = info[0].elements().expect("an array");
    assert_eq!(get[0], bulk("get"));
    assert_eq!(get[1], Reply::Int(2));
    assert_eq!(get[3..6], [Reply::Int(1), Reply::Int(1), Reply::Int(1)]);
    assert_eq!(info[1], Reply::Null);

    let docs = client.run("COMMAND DOCS wasm.call");
    let call = docs.at("wasm.call").expect("documented");
    let arguments = call
        .at("arguments")
        .and_then(Reply::elements)
        .expect("arguments");
    let tokens: Vec<Option<&str>> = arguments
        .iter()
        .map(|argument| argument.at("token").and_then(Reply::text))
        .collect();
    assert!(
        tokens.contains(&Some("KEYS")) && tokens.contains(&Some("ARGS")),
        "{arguments:?}"
    );

    client.hello3();
    assert!(matches!(client.run("COMMAND DOCS"), Reply::Map(_)));
}

#[test]
fn the_keys_of_requests_are_found() {
    let server = Server::start();
    let mut client = server.client();
    let mut keys = |request: &str| client.run(&format!("COMMAND GETKEYS {request}"));
    let list = |names: &[&str]| Reply::Array(names.iter().map(|name| bulk(name)).collect());
    assert_eq!(keys("GET k"), list(&["k"]));
    assert_eq!(keys("MSET a 1 b 2"), list(&["a", "b"]));
    assert_eq!(keys("WASM.CALL f KEYS a b ARGS c"), list(&["a", "b"]));
    assert_eq!(keys("FCALL f 1 a c"), list(&["a"]));
    assert!(keys("PING").error().is_some());
    assert!(keys("NOSUCH x").error().is_some());
    assert!(keys("GET").error().is_some());
}

#[test]
fn info_has_its_sections() {
    let server = Server::start();
    let mut client = server.client();
    let info = client.run("INFO");
    let info = info.text().expect("text");
    for section in ["Server", "Clients", "Memory", "Stats", "Wasm", "Keyspace"] {
        assert!(
            info.contains(&format!("# {section}\r\n")),
            "{section} in {info}"
        );
    }
    let one = client.run("INFO stats");
    let one = one.text().expect("text");
    assert!(
        one.starts_with("# Stats\r\n") && !one.contains("# Server"),
        "{one}"
    );
    assert!(one.contains("total_connections_received:1\r\n"), "{one}");
}

#[test]
fn info_counts_keys_and_deadlines_of_each_database() {
    let server = Server::start();
    let mut client = server.client();
    client.run("MSET a 1 b 1");
    client.run("EXPIRE b 1000");
    client.run("SELECT 3");
    client.run("SET c 1");
    let info = client.run("INFO keyspace");
    let info = info.text().expect("text");
    let ttl = info
        .split_once("db0:keys=2,expires=1,avg_ttl=")
        .and_then(|(_, rest)| rest.lines().next())
        .and_then(|ttl| ttl.parse::<u64>().ok());
    assert!(
        ttl.is_some_and(|ttl| (900_000..=1_000_000).contains(&ttl)),
        "{info}"
    );
    assert!(
        info.contains("db3:keys=1,expires=0,avg_ttl=0\r\n"),
        "{info}"
    );
}

#[test]
fn config_get_shows_the_configuration_without_secrets() {
    let server = Server::builder()
        .arguments(&["--password", "hunter2"])
        .start();
    let mut client = server.client();
    assert_eq!(client.run("AUTH hunter2"), ok());
    let reply = client.run("CONFIG GET wasm.limits.*");
    assert_eq!(
        reply.at("wasm.limits.max_memory"),
        Some(&bulk("16MB")),
        "{reply:?}"
    );
    let all = format!("{:?}", client.run("CONFIG GET *"));
    assert!(
        all.contains("server.password") && !all.contains("hunter2"),
        "{all}"
    );
    assert!(client.run("CONFIG SET port 1").error().is_some());
}
