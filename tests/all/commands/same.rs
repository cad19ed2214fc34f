//! Host calls do the same as commands: the same random requests, sent once as commands and once
//! through a function on a second server, get the same replies.
//!
//! The requests come from the generator that compares the embedded store with Valkey.
//! `FERRITE_DIFFERENTIAL_ROUNDS` makes it run longer.

#[path = "../../../store/tests/all/differential/generate.rs"]
mod generate;
#[path = "../../../store/tests/all/differential/grammar.rs"]
mod grammar;
#[path = "../../../store/tests/all/differential/known.rs"]
mod known;
#[path = "../../../store/tests/all/differential/reply.rs"]
mod reply;

use std::io::{BufReader, Read as _, Write as _};
use std::net::TcpStream;

use ferrite_tests::{Server, encode};
use generate::Generator;
use reply::Reply;

/// Runs the command in its first key with its arguments, and returns the reply unchanged.
///
/// Its input is `[[name], arguments]` in RESP, whose second half is the input of `call`.
const PROXY: &str = r#"(module
  (import "ferrite" "key" (func $key (param i32 i32 i32) (result i32)))
  (import "ferrite" "call" (func $call (param i32 i32 i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 64)
  (func (export "alloc") (param i32) (result i32) (i32.const 1024))
  (func (export "run") (param $at i32) (param $len i32) (result i64)
    (local $name i32) (local $skip i32) (local $reply i32)
    (local.set $name (call $key (i32.const 0) (i32.const 0) (i32.const 1000)))
    ;; Past "*2", "*1", the name's length of one digit or two, and the name.
    (local.set $skip (i32.add (i32.const 14) (local.get $name)))
    (if (i32.ge_u (local.get $name) (i32.const 10))
      (then (local.set $skip (i32.add (local.get $skip) (i32.const 1)))))
    (local.set $reply (call $call
      (i32.const 0) (local.get $name)
      (i32.add (local.get $at) (local.get $skip)) (i32.sub (local.get $len) (local.get $skip))
      (i32.const 1000000) (i32.const 3000000)))
    (if (i32.lt_s (local.get $reply) (i32.const 0)) (then unreachable))
    (i64.or (i64.shl (i64.const 1000000) (i64.const 32)) (i64.extend_i32_u (local.get $reply)))))"#;

/// A connection that returns replies as raw bytes.
struct Raw(BufReader<TcpStream>);

impl Raw {
    fn connect(server: &Server) -> Self {
        let stream = TcpStream::connect(server.address()).expect("the server listens");
        Self(BufReader::new(stream))
    }

    fn run<W: AsRef<[u8]>>(&mut self, words: &[W]) -> Reply {
        self.0
            .get_mut()
            .write_all(&encode(words))
            .expect("the server takes requests");
        let mut bytes = Vec::new();
        loop {
            if let Some(reply) = Reply::parse(&bytes) {
                return reply;
            }
            let mut chunk = [0; 4096];
            let count = self.0.read(&mut chunk).expect("a reply");
            assert!(count > 0, "the server closed");
            bytes.extend_from_slice(&chunk[..count]);
        }
    }
}

/// RESP2 has two nulls; a blocking command returns the other one inside of a transaction.
fn one_null(reply: Reply) -> Reply {
    match reply {
        Reply::Leaf(b'*', bytes) => Reply::Leaf(b'$', bytes),
        Reply::Node(mark, elements) => {
            Reply::Node(mark, elements.into_iter().map(one_null).collect())
        }
        leaf => leaf,
    }
}

#[test]
fn functions_and_commands_do_the_same() {
    const ROUNDS: u64 = 20;
    const COMMANDS: usize = 200;
    let rounds = std::env::var("FERRITE_DIFFERENTIAL_ROUNDS")
        .ok()
        .and_then(|rounds| rounds.parse().ok())
        .unwrap_or(ROUNDS);
    let (by_command, by_function) = (Server::start(), Server::start());
    let (mut commands, mut functions) = (Raw::connect(&by_command), Raw::connect(&by_function));
    let read_write = r#"{"allow_write": true}"#;
    let loaded = functions.run(&["WASM.DEFINE", "proxy", PROXY, "PERMISSIONS", read_write]);
    assert!(!loaded.is_error(), "{loaded}");
    for seed in 0..rounds {
        let since = std::time::Instant::now();
        for connection in [&mut commands, &mut functions] {
            assert!(!connection.run(&["FLUSHALL"]).is_error());
        }
        let mut generator = Generator::new(1000 + seed);
        for _ in 0..COMMANDS {
            let argv = generator.command();
            let name = argv[0].to_ascii_uppercase();
            // A transaction cannot swap databases.
            if name == b"SWAPDB" || name.is_empty() {
                continue;
            }
            let direct = one_null(commands.run(&argv));
            let mut call: Vec<&[u8]> = vec![b"WASM.CALL", b"proxy", b"KEYS", &argv[0], b"ARGS"];
            call.extend(argv[1..].iter().map(Vec::as_slice));
            let called = one_null(functions.run(&call));
            // Errors of the host name the command as typed; the runtime has its own text there.
            let refused = |reply: &Reply| {
                reply.bytes().starts_with(b"ERR wrong number of arguments")
                    || reply.bytes().starts_with(b"ERR unknown command")
            };
            let same = known::equal(&argv, &called, &direct, since.elapsed())
                || (called.is_error() && refused(&called) && refused(&direct));
            let line: Vec<String> = argv
                .iter()
                .map(|word| word.escape_ascii().to_string())
                .collect();
            assert!(
                same,
                "seed {seed}: {line:?} as a command: {direct}\nby a function: {called}"
            );
        }
        for key in generate::KEYS {
            for read in [
                &["TYPE", key][..],
                &["GET", key],
                &["HGETALL", key],
                &["LRANGE", key, "0", "-1"],
                &["SMEMBERS", key],
                &["ZRANGE", key, "0", "-1", "WITHSCORES"],
            ] {
                let argv: Vec<Vec<u8>> = read.iter().map(|word| word.as_bytes().to_vec()).collect();
                let (called, direct) = (functions.run(read), commands.run(read));
                assert!(
                    known::equal(&argv, &called, &direct, since.elapsed()),
                    "seed {seed}: {read:?}: {direct}\nby a function: {called}"
                );
            }
        }
    }
}
