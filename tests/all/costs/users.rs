//! A user whose calls fill all places leaves the other users their share.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use ferrite_tests::{Client, Engine, EngineBuilder, EngineKind, Reply, Server, ServerBuilder};

use crate::support::guests::SLEEP;

/// Longest wait for calls to begin.
const PATIENCE: Duration = Duration::from_secs(60);

/// Functions that the greedy user calls, and its calls of each.
const FUNCTIONS: usize = 5;
const CALLS: usize = 10;

/// Instances of all functions, and those that are used before they count as few.
const INSTANCES: usize = 32;
const PLENTY: usize = INSTANCES - INSTANCES / 4;

/// A program that runs functions.
trait Host {
    fn client(&self) -> Client;
}

impl Host for Server {
    fn client(&self) -> Client {
        Self::client(self)
    }
}

impl Host for Engine {
    fn client(&self) -> Client {
        Self::client(self)
    }
}

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

fn login(host: &dyn Host, user: &str) -> Client {
    let mut client = host.client();
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
fn fill(host: &dyn Host) {
    let mut greedy = login(host, "greedy");
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
fn other_users_are_served(host: &dyn Host) {
    let mut modest = login(host, "modest");
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
    let stats = modest.run("WASM.STATS");
    let running = calls_of(&stats, "greedy");
    assert!(
        running.is_some_and(|running| running >= PLENTY as i64),
        "{stats:?}"
    );
    let held = stats.at("user_calls_held").and_then(Reply::int);
    assert!(held.is_some_and(|held| held > 0), "{stats:?}");
}

/// Running calls of a user, if calls are counted for it.
fn calls_of(stats: &Reply, user: &str) -> Option<i64> {
    stats.at("user_running_calls")?.at(user)?.int()
}

/// The metrics page shows the same.
fn metrics_tell(server: &Server) {
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

/// Waits until an engine with the module has counted its users.
fn wait_for_users(host: &dyn Host) {
    let mut greedy = login(host, "greedy");
    let reply = greedy.call(&["WASM.DEFINE", "probe", SLEEP]);
    assert!(reply.error().is_none(), "{reply:?}");
    let started = Instant::now();
    loop {
        let reply = greedy.run("WASM.CALLASYNC probe");
        assert!(reply.error().is_none(), "{reply:?}");
        while greedy
            .run("WASM.INFO probe")
            .at("running")
            .and_then(Reply::int)
            != Some(1)
        {
            assert!(started.elapsed() < PATIENCE, "the call does not begin");
        }
        let counted = calls_of(&greedy.run("WASM.STATS"), "greedy").is_some();
        greedy.run("WASM.KILL probe");
        while greedy
            .run("WASM.INFO probe")
            .at("running")
            .and_then(Reply::int)
            != Some(0)
        {
            assert!(started.elapsed() < PATIENCE, "the call does not end");
        }
        if counted {
            let reply = greedy.run("WASM.UNLOAD probe");
            assert_eq!(reply.text(), Some("OK"), "{reply:?}");
            return;
        }
        assert!(started.elapsed() < PATIENCE, "the users are not counted");
    }
}

fn module_builder(kind: EngineKind, arguments: &[&str]) -> EngineBuilder {
    let instances = INSTANCES.to_string();
    kind.builder()
        .module(&["max-instances", "8", "total-instances", &instances])
        .module(&["max-time", "60s"])
        .module(arguments)
}

#[test]
fn one_user_inside_an_engine_cannot_keep_the_others_waiting() {
    for kind in EngineKind::ends_here() {
        let engine = module_builder(kind, &[]).start();
        add_users(&mut engine.client());
        wait_for_users(&engine);
        fill(&engine);
        other_users_are_served(&engine);
        let mut greedy = login(&engine, "greedy");
        for function in 0..FUNCTIONS {
            greedy.run(&format!("WASM.KILL sleep{function}"));
        }
        let started = Instant::now();
        while greedy.run("WASM.CALL sleep0.quick").int() != Some(7) {
            assert!(started.elapsed() < PATIENCE, "{kind:?}: nothing ended");
        }
    }
}

#[test]
fn users_inside_an_engine_share_nothing_where_that_is_switched_off() {
    for kind in EngineKind::ends_here() {
        let engine = module_builder(kind, &["share-among-users", "no"]).start();
        add_users(&mut engine.client());
        fill(&engine);
        let mut modest = login(&engine, "modest");
        let refused = (0..FUNCTIONS)
            .map(|function| modest.run(&format!("WASM.CALL sleep{function}.quick TIMEOUT 20")))
            .filter(|reply| reply.error().is_some())
            .count();
        assert!(refused > 0, "{kind:?}: there was room for all");
        assert_eq!(calls_of(&modest.run("WASM.STATS"), "greedy"), None);
    }
}

#[test]
fn one_user_cannot_keep_the_others_waiting() {
    let server = builder(&[]).start();
    add_users(&mut server.client());
    fill(&server);
    other_users_are_served(&server);
    metrics_tell(&server);
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
    metrics_tell(&server);
}
