//! Values and hashes at the engine's limits.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use ferrite_tests::{Client, EngineBuilder, Reply, Server};

use super::bad_engines::pretend;
use super::{COUNT, OPS, before, define, engine, on_each};

const ANY: &str = include_str!("guests/any.wat");

/// Reads as many fields of its key as its argument says, named by five letters each, and returns their sum.
const FIELDS: &str = r#"(module
  (import "ferrite" "key" (func $key (param i32 i32 i32) (result i32)))
  (import "ferrite" "arg" (func $arg (param i32 i32 i32) (result i32)))
  (import "ferrite" "hget" (func $hget (param i32 i32 i32 i32 i32 i32) (result i32)))
  (import "ferrite" "reply_int" (func $reply_int (param i64)))
  (memory (export "memory") 1)
  (func (export "run") (local $count i32) (local $at i32) (local $digit i32) (local $rest i32) (local $klen i32) (local $len i32) (local $sum i64)
    (local.set $klen (call $key (i32.const 0) (i32.const 64) (i32.const 64)))
    (local.set $len (call $arg (i32.const 0) (i32.const 32) (i32.const 16)))
    (loop $digits
      (local.set $count (i32.add (i32.mul (local.get $count) (i32.const 10))
        (i32.sub (i32.load8_u (i32.add (i32.const 32) (local.get $digit))) (i32.const 48))))
      (local.set $digit (i32.add (local.get $digit) (i32.const 1)))
      (br_if $digits (i32.lt_u (local.get $digit) (local.get $len))))
    (loop $more
      (local.set $rest (local.get $at))
      (local.set $digit (i32.const 0))
      (loop $letters
        (i32.store8 (local.get $digit) (i32.add (i32.const 97) (i32.and (local.get $rest) (i32.const 15))))
        (local.set $rest (i32.shr_u (local.get $rest) (i32.const 4)))
        (local.set $digit (i32.add (local.get $digit) (i32.const 1)))
        (br_if $letters (i32.lt_u (local.get $digit) (i32.const 5))))
      (if (i32.ne (call $hget (i32.const 64) (local.get $klen) (i32.const 0) (i32.const 5) (i32.const 16) (i32.const 8)) (i32.const 1))
        (then (local.set $sum (i64.sub (local.get $sum) (i64.const 1000000))))
        (else (local.set $sum (i64.add (local.get $sum) (i64.extend_i32_u (i32.sub (i32.load8_u (i32.const 16)) (i32.const 48)))))))
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (br_if $more (i32.lt_u (local.get $at) (local.get $count))))
    (call $reply_int (local.get $sum))))"#;

#[test]
fn fields_of_a_hash_of_a_million_are_read_and_written_alone() {
    on_each(|kind| {
        let engine = engine(kind);
        let server = before(&engine).start();
        let (mut client, mut direct) = (server.client(), engine.client());
        for (name, source) in [("ops", OPS), ("any", ANY), ("fields", FIELDS)] {
            define(&mut client, name, source);
        }
        // The same names as in the function, with one digit each.
        let fill = r"
            for number = 0, 999999 do
              local rest, name = number, {}
              for digit = 1, 5 do name[digit] = string.char(97 + rest % 16) rest = math.floor(rest / 16) end
              redis.call('HSET', 'big', table.concat(name), number % 10)
            end";
        assert_eq!(direct.call(&["EVAL", fill, "0"]), Reply::Null);
        // The first call loads the function and the script.
        client.run("WASM.CALL ops.hget KEYS big ARGS daaaa");
        let read = client.run("WASM.PROFILE ops.hget KEYS big ARGS daaaa");
        assert_eq!(read.at("reply").and_then(Reply::text), Some("3"));
        assert_eq!(
            read.at("read_bytes").and_then(Reply::int),
            Some(1),
            "{read:?}"
        );
        assert_eq!(read.at("round_trips").and_then(Reply::int), Some(2));
        for (line, expected) in [
            ("WASM.CALL ops.hset KEYS big ARGS daaaa 8", 0),
            ("WASM.CALL ops.hset KEYS big ARGS new 1", 1),
            ("HLEN big", 1_000_001),
            ("WASM.CALL ops.hdel KEYS big ARGS new", 1),
            ("HLEN big", 1_000_000),
            // More fields than Lua's stack takes at once.
            ("WASM.CALL fields KEYS big ARGS 10000", 45_005),
        ] {
            assert_eq!(client.run(line), Reply::Int(expected), "{kind:?}: {line}");
        }
        // All of it is too much, and so are more fields than a call may read.
        let all = client.run("WASM.CALL any KEYS big ARGS HGETALL big");
        let error = all.error().unwrap_or_default();
        assert!(
            error.starts_with("LIMIT") && error.contains("1000000 elements"),
            "{all:?}"
        );
        let many = client.run("WASM.CALL fields KEYS big ARGS 20000");
        let error = many.error().unwrap_or_default();
        assert!(
            error.starts_with("LIMIT") && error.contains("more than 16384 keys and fields"),
            "{many:?}"
        );
        assert_eq!(
            client.run("WASM.CALL any KEYS big ARGS DEL big"),
            Reply::Int(1)
        );
    });
}

/// Calls a function that makes a text of this length.
fn grow(client: &mut Client, key: &str, len: u32) -> Reply {
    client.run(&format!(
        "WASM.CALL any KEYS {key} ARGS SETRANGE {key} {} x",
        len - 1
    ))
}

fn a_commit_that_is_too_large_is_refused(configure: impl Fn(EngineBuilder) -> EngineBuilder) {
    on_each(|kind| {
        let engine = configure(kind.builder().unmodified()).start();
        let server = before(&engine).start();
        let mut client = server.client();
        define(&mut client, "any", ANY);
        define(&mut client, "count", COUNT);
        assert_eq!(grow(&mut client, "text", 900_000), Reply::Int(900_000));
        let done = std::sync::atomic::AtomicBool::new(false);
        let counted = thread::scope(|scope| {
            // Others share its connections, and lose nothing.
            let counting = scope.spawn(|| {
                let (mut client, mut counted) = (server.client(), 0);
                while !done.load(Ordering::SeqCst) {
                    counted += 1;
                    assert_eq!(client.run("WASM.CALL count KEYS n"), Reply::Int(counted));
                }
                counted
            });
            let reply = grow(&mut client, "text", 3_000_000);
            done.store(true, Ordering::SeqCst);
            let error = reply.error().unwrap_or_default();
            assert!(
                error.starts_with("LIMIT")
                    && error.contains("takes no commit of 300")
                    && error.contains("nothing of the call was kept"),
                "{kind:?}: {reply:?}"
            );
            counting.join().expect("no failure")
        });
        assert_eq!(client.run("STRLEN text"), Reply::Int(900_000), "{kind:?}");
        assert_eq!(
            client.run("GET n").text(),
            Some(counted.to_string().as_str())
        );
        assert_eq!(grow(&mut client, "text", 950_000), Reply::Int(950_000));
    });
}

#[test]
fn a_value_above_the_engines_longest_is_refused() {
    a_commit_that_is_too_large_is_refused(|engine| {
        engine.arguments(&["--proto-max-bulk-len", "1mb"])
    });
}

#[test]
fn a_commit_above_the_engines_query_buffer_is_refused() {
    a_commit_that_is_too_large_is_refused(|engine| {
        engine.arguments(&["--client-query-buffer-limit", "1mb"])
    });
}

#[test]
fn a_large_field_is_proved_by_a_short_request() {
    on_each(|kind| {
        let builder = kind.builder().unmodified();
        let engine = builder
            .arguments(&["--client-query-buffer-limit", "1mb"])
            .start();
        let server = before(&engine).start();
        let (mut client, mut direct) = (server.client(), engine.client());
        define(&mut client, "ops", OPS);
        let fill = r"
            for number = 1, 600 do redis.call('HSET', 'big', number, number) end
            redis.call('HSET', 'big', 'long', string.rep('x', 3000000))";
        assert_eq!(direct.call(&["EVAL", fill, "0"]), Reply::Null);
        assert_eq!(
            client.run("WASM.CALL ops.hset KEYS big ARGS long short"),
            Reply::Int(0),
            "{kind:?}"
        );
        assert_eq!(direct.run("HGET big long").text(), Some("short"));
    });
}

/// Something between a server and its engine that breaks connections on which this many bytes came, and lets
/// everything else through.
fn breaking(engine: SocketAddr, bytes: usize, times: u32) -> (SocketAddr, Arc<AtomicU32>) {
    let left = Arc::new(AtomicU32::new(times));
    let breaks = Arc::clone(&left);
    let address = pretend(move |stream| {
        let Ok(to) = TcpStream::connect(engine) else {
            return;
        };
        let clone = |stream: &TcpStream| stream.try_clone().expect("a socket");
        let (mut from_engine, mut back) = (clone(&to), clone(&stream));
        let replies = thread::spawn(move || {
            let _ = std::io::copy(&mut from_engine, &mut back);
            let _ = back.shutdown(Shutdown::Both);
        });
        let (mut from, mut to) = (stream, to);
        let (mut came, mut chunk) = (0, [0; 65536]);
        while let Ok(read @ 1..) = from.read(&mut chunk) {
            came += read;
            let take = |left: u32| left.checked_sub(1);
            let breaks = came > bytes
                && breaks
                    .fetch_update(Ordering::SeqCst, Ordering::SeqCst, take)
                    .is_ok();
            if breaks || to.write_all(&chunk[..read]).is_err() {
                break;
            }
        }
        for stream in [&from, &to] {
            let _ = stream.shutdown(Shutdown::Both);
        }
        let _ = replies.join();
    });
    (address, left)
}

#[test]
fn a_large_commit_whose_connection_breaks_for_another_reason_is_not_called_too_large() {
    const BREAKS: u32 = 6;
    on_each(|kind| {
        let engine = engine(kind);
        let (address, left) = breaking(engine.address(), 1_000_000, BREAKS);
        let url = format!("redis://{address}");
        let start = || Server::builder().arguments(&["--upstream", &url]).start();
        let server = start();
        let (mut client, mut direct) = (server.client(), engine.client());
        define(&mut client, "any", ANY);
        // The engine says what it takes, so the commit is sent until it arrives.
        assert_eq!(grow(&mut client, "text", 2_000_000), Reply::Int(2_000_000));
        assert_eq!(left.load(Ordering::SeqCst), 0, "{kind:?}");
        assert_eq!(direct.run("STRLEN text"), Reply::Int(2_000_000));
        // It does not say it, so the commit is given up, and nothing is said that is not known.
        direct.run("ACL SETUSER default -config");
        let server = start();
        let mut client = server.client();
        define(&mut client, "any", ANY);
        left.store(u32::MAX, Ordering::SeqCst);
        let reply = grow(&mut client, "text", 2_500_000);
        let error = reply.error().unwrap_or_default();
        assert!(
            error.starts_with("STORE")
                && error.contains("broke each of the 4 times")
                && error.contains("nothing of the call was kept"),
            "{kind:?}: {reply:?}"
        );
        assert_eq!(direct.run("STRLEN text"), Reply::Int(2_000_000));
    });
}

#[test]
fn a_commit_without_a_mark_that_is_too_large_is_known_to_be() {
    on_each(|kind| {
        let builder = kind.builder().unmodified();
        let engine = builder
            .arguments(&["--client-query-buffer-limit", "1mb"])
            .start();
        let mut direct = engine.client();
        direct.run("ACL SETUSER plain on >pw ~* &* +@all -@scripting");
        direct.run("ACL SETUSER unmarked on >pw ~text &* +@all -config");
        let server = before(&engine).start();
        define(&mut server.client(), "any", ANY);
        for user in ["plain", "unmarked"] {
            let mut client = server.client();
            client.run(&format!("AUTH {user} pw"));
            assert_eq!(grow(&mut client, "text", 1000), Reply::Int(1000));
            let reply = grow(&mut client, "text", 3_000_000);
            let error = reply.error().unwrap_or_default();
            assert!(
                error.starts_with("LIMIT")
                    && error.contains("client-query-buffer-limit is 1048576"),
                "{kind:?}: {user}: {reply:?}"
            );
            assert_eq!(direct.run("STRLEN text"), Reply::Int(1000));
            direct.run("DEL text");
        }
    });
}

#[test]
fn no_value_grows_beyond_half_a_gigabyte() {
    on_each(|kind| {
        let engine = engine(kind);
        let server = before(&engine).start();
        let mut client = server.client();
        define(&mut client, "any", ANY);
        client.run("SET text x");
        let reply = client.run("WASM.CALL any KEYS text ARGS SETRANGE text 536870912 x");
        let error = reply.error().unwrap_or_default();
        assert!(
            error.contains("maximum allowed size"),
            "{kind:?}: {reply:?}"
        );
        assert_eq!(client.run("GET text").text(), Some("x"));
    });
}
