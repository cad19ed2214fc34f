//! The clients of a soak. Each kind runs on a thread of its own until it is told to stop.

use std::fmt::{self, Display, Formatter};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use ferrite_tests::{Client, Reply, encode};

/// A client that does one kind of thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Kind {
    /// Writes, reads, expires and flushes data of every type.
    Data,
    /// Calls functions that read and write.
    Calls,
    /// Loads, replaces and unloads functions, so that code is compiled and evicted.
    Loads,
    /// Calls functions that use up their time, their memory, their log, and that trap.
    Hostile,
    /// Connects and leaves, in the middle of requests too, and sends what is no request.
    Connections,
    /// Transactions that conflict with the calls.
    Conflicts,
}

impl Kind {
    pub(super) const ALL: [Self; 6] = [
        Self::Data,
        Self::Calls,
        Self::Loads,
        Self::Hostile,
        Self::Connections,
        Self::Conflicts,
    ];
}

/// Requests of each kind that were answered, and errors among the answers.
#[derive(Debug, Default)]
pub(super) struct Counts {
    answered: [AtomicU64; Kind::ALL.len()],
    errors: [AtomicU64; Kind::ALL.len()],
}

impl Counts {
    /// Answers of all kinds together.
    pub(super) fn total(&self) -> u64 {
        self.answered
            .iter()
            .map(|count| count.load(Ordering::Relaxed))
            .sum()
    }

    fn add(&self, kind: Kind, reply: &Reply) {
        self.answered[kind as usize].fetch_add(1, Ordering::Relaxed);
        if reply.error().is_some() {
            self.errors[kind as usize].fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Display for Counts {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for kind in Kind::ALL {
            let answered = self.answered[kind as usize].load(Ordering::Relaxed);
            let errors = self.errors[kind as usize].load(Ordering::Relaxed);
            let name = format!("{kind:?}");
            writeln!(
                f,
                "{name:<12} {answered:>12} answers, {errors} of them errors"
            )?;
        }
        Ok(())
    }
}

/// A function that appends to a list and counts.
const COUNT: &str = r#"(module
    (import "ferrite" "incr_by" (func $incr (param i32 i32 i64 i32) (result i32)))
    (import "ferrite" "reply_int" (func $reply (param i64)))
    (memory (export "memory") 1)
    (data (i32.const 0) "soak:count")
    (func (export "run")
        (drop (call $incr (i32.const 0) (i32.const 10) (i64.const 1) (i32.const 64)))
        (call $reply (i64.load (i32.const 64)))))"#;

/// Functions that break a limit, each in another way.
const HOSTILE: [(&str, &str); 4] = [
    (
        "endless",
        r#"(module (func (export "run") (loop $again (br $again))))"#,
    ),
    (
        "growing",
        r#"(module (memory (export "memory") 1) (func (export "run") (loop $again
            (br_if $again (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) unreachable))"#,
    ),
    (
        "chatty",
        r#"(module (import "ferrite" "log" (func $log (param i32 i32 i32))) (memory (export "memory") 1)
            (func (export "run") (loop $again (call $log (i32.const 0) (i32.const 0) (i32.const 60000)) (br $again))))"#,
    ),
    (
        "deep",
        r#"(module (func $down (export "run") (call $down)))"#,
    ),
];

/// Runs one client until it is told to stop; connects again when its connection ends. It rests after each
/// round.
pub(super) fn run(
    kind: Kind,
    address: SocketAddr,
    rest: Duration,
    counts: &Counts,
    stop: &AtomicBool,
) {
    let mut round: u64 = 0;
    while !stop.load(Ordering::Relaxed) {
        let Ok(mut client) = Client::try_connect(address) else {
            std::thread::sleep(Duration::from_millis(50));
            continue;
        };
        // A few thousand rounds with each connection.
        while !stop.load(Ordering::Relaxed) {
            round += 1;
            std::thread::sleep(rest);
            let Some(requests) = requests(kind, round) else {
                misbehave(&mut client, round);
                break;
            };
            let bytes: Vec<u8> = requests.iter().flat_map(|words| encode(words)).collect();
            if client.try_send(&bytes).is_err() {
                break;
            }
            for _ in &requests {
                match client.next() {
                    Some(reply) => counts.add(kind, &reply),
                    None => break,
                }
            }
            if round.is_multiple_of(5000) {
                break;
            }
        }
    }
}

/// The requests of one round; `None` for one that does not follow the protocol.
fn requests(kind: Kind, round: u64) -> Option<Vec<Vec<String>>> {
    let words = |line: String| -> Vec<String> { line.split(' ').map(str::to_owned).collect() };
    let lines = |lines: Vec<String>| lines.into_iter().map(words).collect();
    // A sequence without a pattern, and the same in each run.
    let random = round.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    let key = random % 5000;
    Some(match kind {
        Kind::Data if round.is_multiple_of(20_000) => lines(vec!["FLUSHDB".to_owned()]),
        Kind::Data => lines(vec![
            format!("SET text:{key} {}", "v".repeat((random % 600) as usize)),
            format!("SET mortal:{key} {round} PX {}", 50 + random % 3000),
            format!("GET text:{}", random % 4999),
            format!("HSET hash:{} field:{} {round}", key % 50, random % 300),
            format!("ZADD zset:{} {round} member:{}", key % 20, random % 500),
            format!("LPUSH list:{} {round}", key % 20),
            format!("LTRIM list:{} 0 99", key % 20),
            format!("APPEND text:{} x", key % 100),
            format!("DEL text:{}", random % 4999),
            format!("SCAN {} COUNT 20", random % 1000),
        ]),
        Kind::Calls if round == 1 => vec![vec![
            "WASM.DEFINE".to_owned(),
            "count".to_owned(),
            COUNT.to_owned(),
            "PERMISSIONS".to_owned(),
            r#"{"allow_write": true}"#.to_owned(),
            "REPLACE".to_owned(),
        ]],
        Kind::Calls => lines(vec!["WASM.CALL count".to_owned(); 16]),
        Kind::Loads => {
            let name = format!("loaded:{}", round % 20);
            let source = format!(
                r#"(module (memory (export "memory") 2) (data (i32.const 9) "{round}") (func (export "run") (result i32) i32.const {}))"#,
                round % 1_000_000
            );
            let define = ["WASM.DEFINE", &name, &source, "REPLACE"].map(str::to_owned);
            let mut all = vec![define.to_vec(), words(format!("WASM.CALL {name}"))];
            if round.is_multiple_of(3) {
                all.push(words(format!("WASM.UNLOAD {name}")));
            }
            all
        }
        Kind::Hostile => {
            let (name, source) = HOSTILE[(round % 4) as usize];
            if round <= 4 {
                vec![
                    ["WASM.DEFINE", name, source, "REPLACE"]
                        .map(str::to_owned)
                        .to_vec(),
                ]
            } else {
                lines(vec![format!("WASM.CALL {name} TIMEOUT 20")])
            }
        }
        Kind::Connections if !round.is_multiple_of(4) => return None,
        Kind::Connections => lines(vec!["PING".to_owned(), "INFO".to_owned()]),
        Kind::Conflicts => lines(vec![
            "MULTI".to_owned(),
            "INCR soak:count".to_owned(),
            format!("SET conflict:{} {round}", round % 10),
            "EXEC".to_owned(),
        ]),
    })
}

/// Sends what is no request, or a part of one, and leaves.
fn misbehave(client: &mut Client, round: u64) {
    let bytes: &[u8] = match round % 5 {
        0 => b"*3\r\n$3\r\nSET\r\n$100\r\nhalf",
        1 => b"*-5\r\n$zz\r\n",
        2 => b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        3 => b"*1\r\n*1\r\n*1\r\n",
        _ => b"PING\r\nSUBSCRIBE x\r\n\"",
    };
    // The server may close the connection first.
    let _ = client.try_send(bytes);
}
