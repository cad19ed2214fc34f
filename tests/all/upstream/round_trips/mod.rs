//! The number of requests that a call makes to the engine, as the engine counts them.

mod kept;

use ferrite_tests::{Client, Reply};

use super::{COUNT, OPS, TALLY, before, define, engine, on_each};

/// Scripts that the engine has run so far.
fn scripts(direct: &mut Client) -> u64 {
    let info = direct.run("INFO commandstats");
    let text = info.text().expect("text");
    let calls = |line: &str| -> Option<u64> {
        let rest = line.strip_prefix("cmdstat_eval")?;
        let calls = rest.split_once(":calls=")?.1;
        calls.split(',').next()?.parse().ok()
    };
    text.lines().filter_map(calls).sum()
}

#[test]
fn declared_keys_need_two_and_an_undeclared_one_needs_one_more() {
    on_each(|kind| {
        let engine = engine(kind);
        let server = before(&engine).start();
        let (mut client, mut direct) = (server.client(), engine.client());
        for (name, source) in [("count", COUNT), ("tally", TALLY), ("ops", OPS)] {
            define(&mut client, name, source);
        }
        let both = r#"(module
          (import "ferrite" "key" (func $key (param i32 i32 i32) (result i32)))
          (import "ferrite" "incr_by" (func $incr_by (param i32 i32 i64 i32) (result i32)))
          (memory (export "memory") 1)
          (data (i32.const 0) "other")
          (func (export "run")
            (drop (call $incr_by (i32.const 64) (call $key (i32.const 0) (i32.const 64) (i32.const 64)) (i64.const 1) (i32.const 32)))
            (drop (call $incr_by (i32.const 0) (i32.const 5) (i64.const 1) (i32.const 32)))))"#;
        define(&mut client, "both", both);
        client.run("HSET hash f v");
        let mut needs = |line: &str, expected: u64| {
            // The first call loads the function and the scripts.
            for _ in 0..2 {
                client.run(line);
            }
            let before = scripts(&mut direct);
            let reply = client.run(line);
            assert!(reply.error().is_none(), "{line}: {reply:?}");
            assert_eq!(scripts(&mut direct) - before, expected, "{kind:?}: {line}");
        };
        needs("WASM.CALL count KEYS k", 2);
        needs("WASM.CALL both KEYS k", 3);
        needs("WASM.CALL tally", 2);
        // Nothing is written, and everything was read as of one moment.
        needs("WASM.CALL ops.get KEYS k", 1);
        needs("WASM.CALL ops.hget KEYS hash ARGS f", 1);
        needs("WASM.CALL ops.set KEYS text ARGS w", 2);
        // Nothing is written that is there already.
        needs("WASM.CALL ops.hset KEYS hash ARGS f v", 1);
        // Many keys are read at once.
        let keys: Vec<String> = (0..50).map(|key| format!("k{key}")).collect();
        needs(&format!("WASM.CALL count KEYS {}", keys.join(" ")), 2);
    });
}

/// Reads as many keys as its argument says, which no call declares, and returns the sum.
const MANY: &str = r#"(module
  (import "ferrite" "get" (func $get (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "run") (param $count i64) (result i64) (local $at i64) (local $sum i64)
    (loop $more
      (i32.store8 (i32.const 0) (i32.add (i32.const 97) (i32.wrap_i64 (i64.and (local.get $at) (i64.const 15)))))
      (i32.store8 (i32.const 1) (i32.add (i32.const 97) (i32.wrap_i64 (i64.and (i64.shr_u (local.get $at) (i64.const 4)) (i64.const 15)))))
      (i32.store8 (i32.const 2) (i32.add (i32.const 97) (i32.wrap_i64 (i64.shr_u (local.get $at) (i64.const 8)))))
      (if (i32.eq (call $get (i32.const 0) (i32.const 3) (i32.const 8) (i32.const 8)) (i32.const 1))
        (then (local.set $sum (i64.add (local.get $sum) (i64.extend_i32_u (i32.sub (i32.load8_u (i32.const 8)) (i32.const 48)))))))
      (local.set $at (i64.add (local.get $at) (i64.const 1)))
      (br_if $more (i64.lt_u (local.get $at) (local.get $count))))
    (local.get $sum)))"#;

#[test]
fn a_thousand_undeclared_keys_are_found_in_a_few() {
    on_each(|kind| {
        let engine = engine(kind);
        let server = before(&engine).start();
        let (mut client, mut direct) = (server.client(), engine.client());
        define(&mut client, "many", MANY);
        let letter = |number: usize| char::from(b'a' + u8::try_from(number).expect("small"));
        for key in 0..1000 {
            let (low, middle, high) = (key & 15, key >> 4 & 15, key >> 8);
            let name: String = [low, middle, high].map(letter).iter().collect();
            client.run(&format!("SET {name} {}", key % 3));
        }
        let expected: i64 = (0..1000).map(|key| key % 3).sum();
        let before = scripts(&mut direct);
        assert_eq!(client.run("WASM.CALL many ARGS 1000"), Reply::Int(expected));
        let needed = scripts(&mut direct) - before;
        assert!(needed <= 6, "{kind:?}: {needed}");
    });
}

#[test]
fn a_field_of_a_large_hash_is_read_alone() {
    on_each(|kind| {
        let engine = engine(kind);
        let server = before(&engine)
            .arguments(&["--upstream-max-value", "100KB"])
            .start();
        let mut client = server.client();
        define(&mut client, "ops", OPS);
        for chunk in 0..100 {
            let mut words = vec!["HSET".to_owned(), "big".to_owned()];
            for field in 0..1000 {
                words.push(format!("f{chunk}:{field}"));
                words.push(format!("value {chunk} {field}"));
            }
            client.call(&words);
        }
        let profile = client.run("WASM.PROFILE ops.hget KEYS big ARGS f7:77");
        assert_eq!(
            profile.at("reply").and_then(Reply::text),
            Some("value 7 77"),
            "{profile:?}"
        );
        assert_eq!(profile.at("read_bytes").and_then(Reply::int), Some(10));
        assert_eq!(
            client.run("WASM.CALL ops.hset KEYS big ARGS f7:77 new"),
            Reply::Int(0)
        );
        assert_eq!(
            client.run("WASM.CALL ops.hset KEYS big ARGS g new"),
            Reply::Int(1)
        );
        assert_eq!(client.run("HGET big f7:77").text(), Some("new"));
        assert_eq!(
            client.run("WASM.CALL ops.hdel KEYS big ARGS g"),
            Reply::Int(1)
        );
        assert_eq!(client.run("HLEN big"), Reply::Int(100_000));
        // All of it is too much.
        define(&mut client, "any", include_str!("../guests/any.wat"));
        let all = client.run("WASM.CALL any KEYS big ARGS HGETALL big");
        let error = all.error().unwrap_or_default();
        assert!(
            error.starts_with("LIMIT") && error.contains("upstream.max_value"),
            "{all:?}"
        );
        assert_eq!(
            client.run("WASM.CALL any KEYS big ARGS DEL big"),
            Reply::Int(1)
        );
        assert_eq!(client.run("EXISTS big"), Reply::Int(0));
    });
}

#[test]
fn a_value_that_is_too_large_is_refused_and_can_be_removed() {
    on_each(|kind| {
        let engine = engine(kind);
        let server = before(&engine)
            .arguments(&["--upstream-max-value", "1MB"])
            .start();
        let mut client = server.client();
        define(&mut client, "any", include_str!("../guests/any.wat"));
        client.run("SETRANGE text 2000000 x");
        let reply = client.run("WASM.CALL any KEYS text ARGS GET text");
        let error = reply.error().unwrap_or_default();
        assert!(
            error.contains("2000001 bytes") && error.contains("1048576"),
            "{reply:?}"
        );
        assert_eq!(client.run("STRLEN text"), Reply::Int(2_000_001));
        client.run("XADD stream * f v");
        let reply = client.run("WASM.CALL any KEYS stream ARGS GET stream");
        let error = reply.error().unwrap_or_default();
        assert!(error.contains("of type stream"), "{reply:?}");
        for key in ["text", "stream"] {
            let removed = client.run(&format!("WASM.CALL any KEYS {key} ARGS DEL {key}"));
            assert_eq!(removed, Reply::Int(1));
        }
        assert_eq!(client.run("EXISTS text stream"), Reply::Int(0));
    });
}
