//! Other clients beside calls of hostile functions: they are served while those run.
//!
//! The functions run each command of the store with its worst arguments, again and again until they
//! are killed. `FERRITE_BESIDE_WAITS=1` prints how long another client has waited beside each; use it
//! with release programs (`FERRITE_SERVER_BIN`).

#![allow(clippy::print_stdout, reason = "figures by hand are to be seen")]

#[path = "../../../store/src/commands/cost_requests.rs"]
mod cost_requests;

use std::time::{Duration, Instant};

use ferrite_tests::{Client, Reply, Server, encode};

/// Runs the command in its key with its arguments, without end.
///
/// Its input is `[[name], arguments]` in RESP, whose second half is the input of `call`.
const AGAIN: &str = r#"(module
  (import "ferrite" "key" (func $key (param i32 i32 i32) (result i32)))
  (import "ferrite" "call" (func $call (param i32 i32 i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 128)
  (func (export "alloc") (param i32) (result i32) (i32.const 1024))
  (func (export "run") (param $at i32) (param $len i32) (result i64)
    (local $name i32) (local $skip i32)
    (local.set $name (call $key (i32.const 0) (i32.const 0) (i32.const 1000)))
    ;; Past "*2", "*1", the name's length of one digit or two, and the name.
    (local.set $skip (i32.add (i32.const 14) (local.get $name)))
    (if (i32.ge_u (local.get $name) (i32.const 10))
      (then (local.set $skip (i32.add (local.get $skip) (i32.const 1)))))
    (loop $again
      (drop (call $call
        (i32.const 0) (local.get $name)
        (i32.add (local.get $at) (local.get $skip)) (i32.sub (local.get $len) (local.get $skip))
        (i32.const 4000000) (i32.const 4000000)))
      (br $again))
    unreachable))"#;

/// Elements of the large collections.
const LEN: usize = 2_000;
/// Answers to another client while a call runs, after which that is ended; more, where waits are printed.
const ANSWERS: usize = 1;
const ANSWERS_PRINTED: usize = 20;

/// Sends a request of `words` for each of `names`, with `rest` in front of the names.
fn fill(client: &mut Client, rest: &[&str], names: impl Iterator<Item = Vec<String>>) {
    let names: Vec<Vec<String>> = names.collect();
    for some in names.chunks(500) {
        let mut words: Vec<&str> = rest.to_vec();
        words.extend(some.iter().flatten().map(String::as_str));
        let reply = client.call(&words);
        assert!(reply.error().is_none(), "{rest:?}: {reply:?}");
    }
}

/// Writes the keys that the requests name.
fn write_data(client: &mut Client) {
    let text = "a".repeat(1 << 20);
    for (key, value) in [
        ("#text", text.clone()),
        ("#words", "ab".repeat(1_000)),
        ("#zeros", "\0".repeat(1 << 20)),
        ("#grown", "g".repeat(1 << 20)),
        ("k:x", "k".repeat(10_000)),
        ("aaaab", String::new()),
    ] {
        assert_eq!(client.call(&["SET", key, &value]).text(), Some("OK"));
    }
    let one = |at: usize| vec![format!("element:{at}")];
    fill(client, &["RPUSH", "#list"], (0..LEN).map(one));
    fill(client, &["SADD", "#set"], (0..LEN).map(one));
    fill(
        client,
        &["SADD", "#set2"],
        (LEN / 2..LEN + LEN / 2).map(one),
    );
    fill(
        client,
        &["SADD", "#one"],
        [vec!["m".repeat(200)]].into_iter(),
    );
    fill(
        client,
        &["SADD", "#wideset"],
        [vec!["a".repeat(200)]].into_iter(),
    );
    let same = (0..LEN).map(|_| vec!["x".to_owned()]);
    fill(client, &["RPUSH", "#same"], same);
    let wide = (0..50).map(|_| vec!["a".repeat(20_000)]);
    fill(client, &["RPUSH", "#wide"], wide);
    let scored = |at: usize| vec![format!("{at}.1"), format!("element:{at}")];
    fill(client, &["ZADD", "#zset"], (0..LEN).map(scored));
    fill(
        client,
        &["ZADD", "#zset2"],
        (LEN / 2..LEN + LEN / 2).map(scored),
    );
    let alike = |at: usize| vec!["0".to_owned(), format!("{}{at:06}", "a".repeat(300))];
    fill(client, &["ZADD", "#equal"], (0..LEN / 4).map(alike));
    let field = |at: usize| vec![format!("element:{at}"), format!("element:{at}")];
    fill(client, &["HSET", "#hash"], (0..LEN).map(field));
    fill(
        client,
        &["HSET", "#hash"],
        [vec!["#field".to_owned(), "v".repeat(20_000)]].into_iter(),
    );
    fill(
        client,
        &["MSET"],
        (0..LEN).map(|at| vec![format!("element:{at}"), "v".to_owned()]),
    );
}

/// Id of the running call, if one runs.
fn running(client: &mut Client) -> Option<i64> {
    let info = client.run("WASM.INFO again");
    let calls = info.at("running_calls").and_then(Reply::elements);
    calls?.first()?.at("id")?.text()?.parse().ok()
}

/// Another client's waits beside one call.
#[derive(Default)]
struct Waits {
    answers: usize,
    longest: Duration,
}

/// Has the other client ask until it has been answered often enough while the call ran, or that has
/// ended.
fn ask_beside(
    other: &mut Client,
    answers: usize,
    call_has_ended: &mut impl FnMut() -> bool,
) -> Waits {
    let mut waits = Waits::default();
    let mut id = None;
    while waits.answers < answers && !call_has_ended() {
        let began = Instant::now();
        assert_eq!(other.run("PING").text(), Some("PONG"));
        assert_eq!(other.run("GET asked").text(), Some("answer"));
        waits.longest = waits.longest.max(began.elapsed());
        // The same call ran before and after the answers.
        let now = running(other);
        if now.is_some() && now == id {
            waits.answers += 1;
        }
        id = now;
    }
    waits
}

#[test]
fn other_clients_are_served_while_hostile_calls_run() {
    let prints = std::env::var_os("FERRITE_BESIDE_WAITS").is_some();
    let answers = if prints { ANSWERS_PRINTED } else { ANSWERS };
    // One thread serves all connections.
    let server = Server::builder()
        .arguments(&["--threads", "1", "--store-persistent", "false"])
        .start();
    let (mut hostile, mut other) = (server.client(), server.client());
    write_data(&mut other);
    other.run("SET asked answer");
    let reply = other.call(&[
        "WASM.DEFINE",
        "again",
        AGAIN,
        "PERMISSIONS",
        r#"{"allow_write":true}"#,
        "LIMITS",
        r#"{"max_fuel":1000000000000,"max_time":"1m","max_memory":"32MB"}"#,
    ]);
    assert!(reply.error().is_none(), "{reply:?}");
    let mut served = 0;
    for (line, argv) in cost_requests::requests() {
        let mut words: Vec<&[u8]> = vec![b"WASM.CALL", b"again", b"KEYS", &argv[0], b"ARGS"];
        words.extend(argv[1..].iter().map(Vec::as_slice));
        hostile.send(&encode(&words));
        let mut reply = None;
        let waits = ask_beside(&mut other, answers, &mut || {
            reply = reply.take().or_else(|| hostile.ready());
            reply.is_some()
        });
        if reply.is_none() {
            served += 1;
            other.run("WASM.KILL again");
        }
        let reply = reply.unwrap_or_else(|| hostile.reply());
        let error = reply.error().unwrap_or_default();
        // Nobody waited until it ended by itself.
        assert!(!error.starts_with("TIMEOUT "), "{line}: {error}");
        if prints {
            println!("{:8} us  {line}: {error}", waits.longest.as_micros());
        }
    }
    assert!(served > 100, "only {served} calls ran on");
}
