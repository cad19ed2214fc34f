//! The server, and a Valkey where there is one, reply as the table of commands says with which the
//! SDKs' stores in memory are tested.

#![allow(clippy::print_stderr, reason = "a skipped test says why")]

use std::fs;
use std::io::BufRead as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use ferrite_tests::{Client, Reply, Server};
use serde_json::Value;

/// Returns the reply that the table expects.
fn expected(reply: &Value) -> Reply {
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    match reply {
        Value::Null => Reply::Null,
        Value::Number(number) => Reply::Int(number.as_i64().expect("an integer")),
        Value::String(text) => Reply::Bulk(text.as_bytes().to_owned()),
        Value::Array(items) => Reply::Array(items.iter().map(expected).collect()),
        reply => match reply.get("simple") {
            Some(simple) => Reply::Simple(text(simple)),
            None => Reply::Error(text(&reply["error"])),
        },
    }
}

/// Returns a reply's items in an order of their own; those of `HGETALL` are pairs.
fn any_order(reply: &Reply, pairs: bool) -> Vec<String> {
    let items = reply.elements().unwrap_or_else(|| panic!("{reply:?}"));
    let mut items: Vec<String> = if pairs {
        items.chunks(2).map(|pair| format!("{pair:?}")).collect()
    } else {
        items.iter().map(|item| format!("{item:?}")).collect()
    };
    items.sort();
    items
}

fn replies_are_those_of_the_table(client: &mut Client) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sdk/command-cases.json");
    let table = fs::read_to_string(path).expect("the table is there");
    let table: Value = serde_json::from_str(&table).expect("it is JSON");
    let groups = table.as_object().expect("groups by name");
    assert_eq!(groups.len(), 6);
    for cases in groups.values() {
        client.run("FLUSHALL");
        for case in cases.as_array().expect("a list of cases") {
            let argv: Vec<String> =
                serde_json::from_value(case[0].clone()).expect("a command's words");
            let reply = client.call(&argv);
            let Some(items) = case[1].get("any_order") else {
                assert_eq!(reply, expected(&case[1]), "{argv:?}");
                continue;
            };
            let mut wanted: Vec<String> = items
                .as_array()
                .expect("items")
                .iter()
                .map(|item| match expected(item) {
                    Reply::Array(pair) => format!("{pair:?}"),
                    item => format!("{item:?}"),
                })
                .collect();
            wanted.sort();
            assert_eq!(any_order(&reply, argv[0] == "HGETALL"), wanted, "{argv:?}");
        }
    }
}

#[test]
fn the_server() {
    let server = Server::start();
    replies_are_those_of_the_table(&mut server.client());
}

#[test]
fn valkey() {
    let Some(program) = std::env::var_os("FERRITE_VALKEY_SERVER").map(PathBuf::from) else {
        eprintln!("skipped: FERRITE_VALKEY_SERVER names no server");
        return;
    };
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("there is a free port")
        .port();
    let mut server = Command::new(program)
        .args(["--save", "", "--bind", "127.0.0.1", "--port"])
        .arg(port.to_string())
        .current_dir(folder.path())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let log = std::io::BufReader::new(server.stdout.take().expect("its log is piped"));
    let ready = |line: &String| line.contains("Ready to accept connections");
    let mut lines = log.lines().map_while(Result::ok);
    assert!(lines.any(|line| ready(&line)), "it ended");
    let checked = std::panic::catch_unwind(|| {
        replies_are_those_of_the_table(&mut Client::connect(([127, 0, 0, 1], port).into()));
    });
    let _ = server.kill();
    let _ = server.wait();
    if let Err(failed) = checked {
        std::panic::resume_unwind(failed);
    }
}
