//! A user whose calls fill all places leaves the other users their share.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use ferrite_tests::{Client, EngineKind, Reply, Server, ServerBuilder};

use crate::support::guests::SLEEP;

/// Longest wait for calls to begin.
const PATIENCE: Duration = Duration::from_secs(60);

/// Functions that the greedy user calls, and its calls of each.
const FUNCTIONS: usize = 5;
const CALLS: usize = 10;

/// Instances of all functions, and those that are used before they count as few.
const INSTANCES: usize = 32;
const PLENTY: usize = INSTANCES - INSTANCES / 4;

fn builder(arguments: &[&str]) -> ServerBuilder {
    let instances = INSTANCES.to_string();
    Server::builder()
        .arguments(&["--wasm-pool-max-instances", "8"])
        .arguments(&["--wasm-pool-total-instances", &instances])
        .arguments(&["--wasm-limits-max-time", "60s"])
        .arguments(&["--metrics-address", "127.0.0.1:0"])
        .arguments(arguments)
}

/// Makes two users.
fn add_users(client: &mut Client) {
    for user in ["greedy", "modest"] {
        let reply = client.run(&format!("ACL SETUSER {user} on >pw ~* +@all"));
        assert_eq!(reply.text(), Some("OK"), "{reply:?}");
    }
}

fn login(server: &Server, user: &str) -> Client {
    let mut client = server.client();
    let reply = client.run(&format!("AUTH {user} pw"));
    assert_eq!(reply.text(), Some("OK"), "{reply:?}");
    client
}

fn metrics(server: &Server) -> String {
    let mut stream = TcpStream::connect(server.address_of("metrics")).expect("it listens");
    stream
        .write_all(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .expect("it takes requests");
    let mut page = String::new();
    stream.read_to_string(&mut page).expect("a page");
    page
}

/// Has the greedy user fill the places with calls that sleep.
fn fill(server: &Server) {
    let mut greedy = login(server, "greedy");
    for function in 0..FUNCTIONS {
        let name = format!("sleep{function}");
        let reply = greedy.call(&["WASM.DEFINE", &name, SLEEP]);
        assert!(reply.error().is_none(), "{reply:?}");
    }
    for _ in 0..CALLS {
        for function in 0..FUNCTIONS {
            let reply = greedy.run(&format!("WASM.CALLASYNC sleep{function}"));
            assert!(reply.error().is_none(), "{reply:?}");
        }
    }
    let started = Instant::now();
    loop {
        let running: i64 = (0..FUNCTIONS)
            .map(|function| {
                let info = greedy.run(&format!("WASM.INFO sleep{function}"));
                info.at("running").and_then(Reply::int).expect("a count")
            })
            .sum();
        if running >= PLENTY as i64 {
            return;
        }
        assert!(started.elapsed() < PATIENCE, "only {running} calls run");
    }
}

/// Checks that another user's calls run nevertheless, of the same functions and of others.
fn other_users_are_served(server: &Server) {
    let mut modest = login(server, "modest");
    let reply = modest.call(&["WASM.DEFINE", "other", SLEEP]);
    assert!(reply.error().is_none(), "{reply:?}");
    for round in 0..3 {
        for function in (0..FUNCTIONS).rev() {
            let reply = modest.run(&format!("WASM.CALL sleep{function}.quick"));
            assert_eq!(reply.int(), Some(7), "{round} {function}: {reply:?}");
        }
        let reply = modest.run("WASM.CALL other.quick");
        assert_eq!(reply.int(), Some(7), "{reply:?}");
    }
    let page = metrics(server);
    let value = |name: &str| -> Option<u64> {
        let line = page.lines().find_map(|line| line.strip_prefix(name));
        line?.trim().parse().ok()
    };
    let running = value("ferrite_user_running_calls{user=\"greedy\"}");
    assert!(
        running.is_some_and(|running| running >= PLENTY as u64),
        "{page}"
    );
    let held = value("ferrite_user_calls_held_total");
    assert!(held.is_some_and(|held| held > 0), "{page}");
}

#[test]
fn one_user_cannot_keep_the_others_waiting() {
    let server = builder(&[]).start();
    add_users(&mut server.client());
    fill(&server);
    other_users_are_served(&server);
    let mut greedy = login(&server, "greedy");
    // Its own calls go on when there is room again.
    for function in 0..FUNCTIONS {
        greedy.run(&format!("WASM.KILL sleep{function}"));
    }
    let started = Instant::now();
    while greedy.run("WASM.CALL sleep0.quick").int() != Some(7) {
        assert!(started.elapsed() < PATIENCE, "nothing ended");
    }
}

#[test]
fn users_share_nothing_where_that_is_switched_off() {
    let server = builder(&["--wasm-pool-share-among-users", "false"]).start();
    add_users(&mut server.client());
    fill(&server);
    let mut modest = login(&server, "modest");
    let refused = (0..FUNCTIONS)
        .map(|function| modest.run(&format!("WASM.CALL sleep{function}.quick TIMEOUT 20")))
        .filter(|reply| reply.error().is_some())
        .count();
    assert!(refused > 0, "there was room for all");
    let page = metrics(&server);
    assert!(!page.contains("user=\"greedy\""), "{page}");
}

#[test]
fn one_user_of_an_engine_cannot_keep_the_others_waiting() {
    let Some(kind) = EngineKind::unmodified_here().into_iter().next() else {
        return;
    };
    let engine = kind.builder().unmodified().start();
    add_users(&mut engine.client());
    let url = format!("redis://{}", engine.address());
    let server = builder(&["--upstream", &url]).start();
    fill(&server);
    other_users_are_served(&server);
}
