//! The table of what replaces Lua, on several servers at once, before one engine or a cluster.

use std::net::TcpStream;
use std::thread;

use example_cases::{Case, Connection};
use ferrite_tests::Server;

use super::{before, cluster, engine, on_each};
use crate::engines::until;
use crate::languages::{load, request};

const SERVERS: usize = 3;

/// Puts a key into the slot of `tag`.
fn tagged(tag: &str, key: &[u8]) -> Vec<u8> {
    [b"{", tag.as_bytes(), b"}", key].concat()
}

/// A command of a case, with its keys in the slot of `tag`.
fn command(tag: &str, words: &[String]) -> Vec<Vec<u8>> {
    let keys = match words[0].as_str() {
        "MGET" | "EXISTS" | "DEL" => 1..words.len(),
        _ => 1..2,
    };
    let word = |(at, word): (usize, &String)| match keys.contains(&at) {
        true => tagged(tag, word.as_bytes()),
        false => word.clone().into_bytes(),
    };
    words.iter().enumerate().map(word).collect()
}

/// Runs the cases; the requests of each go to one server after the other.
fn run(servers: &[Server], first: usize, cases: &[Case]) {
    let connect = |server: &Server| {
        Connection::new(TcpStream::connect(server.address()).expect("the server listens"))
    };
    let mut connections: Vec<_> = servers.iter().map(connect).collect();
    let mut turn = first;
    let mut send = |argv: &[Vec<u8>]| {
        turn += 1;
        let connection = &mut connections[turn % servers.len()];
        connection.command(argv).expect("a reply")
    };
    for (number, case) in cases.iter().enumerate() {
        let tag = format!("{first}:{number}");
        for seed in &case.seed {
            let reply = send(&command(&tag, seed));
            let shown = format!("{reply:?}");
            assert!(!shown.starts_with("Error"), "{}: {shown}", case.name);
        }
        for call in &case.calls {
            let mut argv = request("from_lua", case, call);
            // The keys follow the command, the function and the word `KEYS`.
            for key in &mut argv[3..3 + call.keys.len()] {
                *key = tagged(&tag, key);
            }
            let (reply, expected) = (send(&argv), &call.reply);
            assert!(
                expected.matches(&reply),
                "{}: {expected:?}, {reply:?}",
                case.name
            );
        }
        for check in &case.then {
            let reply = send(&command(&tag, &check.command));
            let expected = &check.reply;
            assert!(
                expected.matches(&reply),
                "{}: {expected:?}, {reply:?}",
                case.name
            );
        }
    }
}

fn the_table_holds(servers: &[Server]) {
    let stream = TcpStream::connect(servers[0].address()).expect("the server listens");
    if !load(&mut Connection::new(stream), "from_lua", "from-lua", &[]) {
        return;
    }
    for server in servers {
        until(&mut server.client(), &["WASM.LIST"], |reply| {
            reply
                .elements()
                .is_some_and(|functions| functions.len() == 1)
        });
    }
    let cases = include_str!("../../../examples/from-lua/cases.json");
    let cases = example_cases::read(cases).expect("a table");
    thread::scope(|scope| {
        for first in 0..servers.len() {
            let cases = &cases;
            scope.spawn(move || run(servers, first, cases));
        }
    });
}

#[test]
fn what_replaces_lua_holds_its_table_on_several_servers_at_once() {
    on_each(|kind| {
        let engine = engine(kind);
        let servers: Vec<Server> = (0..SERVERS).map(|_| before(&engine).start()).collect();
        the_table_holds(&servers);
    });
}

#[test]
fn what_replaces_lua_holds_its_table_before_a_cluster() {
    on_each(|kind| {
        let nodes = cluster::nodes(kind, false);
        let servers: Vec<Server> = (0..SERVERS)
            .map(|_| cluster::before(&nodes).start())
            .collect();
        the_table_holds(&servers);
    });
}
