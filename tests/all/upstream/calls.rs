//! Calls on data of an engine: what they read, write and reply.

use ferrite_tests::{Reply, Server, command};

use super::{COUNT, OPS, before, define, engine, on_each};
use crate::languages::{cases_hold_on, of};

#[test]
fn the_examples_hold_their_table() {
    on_each(|kind| {
        let engine = engine(kind);
        let server = before(&engine).start();
        for function in [
            "rate_limit",
            "validate_user",
            "aggregate_stats",
            "json_patch",
        ] {
            cases_hold_on(&server, function, function, &of(&[function]));
        }
    });
}

#[test]
fn what_replaces_lua_holds_its_table() {
    let cases = include_str!("../../../examples/from-lua/cases.json");
    let cases = example_cases::read(cases).expect("a table");
    on_each(|kind| {
        let engine = engine(kind);
        let server = before(&engine).start();
        cases_hold_on(&server, "from_lua", "from-lua", &cases);
    });
}

#[test]
fn every_operation_replies_as_on_data_of_the_server_itself() {
    on_each(|kind| {
        let engine = engine(kind);
        let (upstream, own) = (before(&engine).start(), Server::start());
        let (mut upstream, mut own) = (upstream.client(), own.client());
        for client in [&mut upstream, &mut own] {
            define(client, "ops", OPS);
        }
        let lines = [
            "SET text 5",
            "RPUSH list a b",
            "HSET hash f v",
            "WASM.CALL ops.get KEYS text",
            "WASM.CALL ops.get KEYS none",
            "WASM.CALL ops.get KEYS list",
            "WASM.CALL ops.set KEYS text ARGS new",
            "GET text",
            "WASM.CALL ops.set_nx KEYS text ARGS other",
            "WASM.CALL ops.incr KEYS counter",
            "WASM.CALL ops.incr KEYS counter",
            "WASM.CALL ops.incr KEYS text",
            "GET counter",
            "WASM.CALL ops.expire KEYS counter",
            "WASM.CALL ops.ttl KEYS counter",
            "WASM.CALL ops.ttl KEYS none",
            "WASM.CALL ops.hget KEYS hash ARGS f",
            "WASM.CALL ops.hget KEYS hash ARGS g",
            "WASM.CALL ops.hset KEYS hash ARGS g w",
            "WASM.CALL ops.hdel KEYS hash ARGS f",
            "HGETALL hash",
            "WASM.CALL ops.hdel KEYS hash ARGS g",
            "EXISTS hash",
            "WASM.CALL ops.del KEYS list",
            "EXISTS list",
            "WASM.CALL ops.exists KEYS text",
            "FCALL ops.get 1 text",
            "WASM.CALL_RO ops.set KEYS text ARGS x",
            "WASM.CALL ops.nothing",
            "WASM.CALL none",
        ];
        for line in lines {
            assert_eq!(upstream.run(line), own.run(line), "{kind:?}: {line}");
        }
    });
}

#[test]
fn values_of_every_type_are_read_and_written() {
    const ANY: &str = include_str!("guests/any.wat");
    on_each(|kind| {
        let engine = engine(kind);
        let (upstream, own) = (before(&engine).start(), Server::start());
        let (mut upstream, mut own) = (upstream.client(), own.client());
        for client in [&mut upstream, &mut own] {
            define(client, "any", ANY);
        }
        // Each line is run as a command by a function, and each key is then looked at directly.
        let lines = [
            "RPUSH list a b c d",
            "LPOP list",
            "LSET list 0 B",
            "LINSERT list BEFORE c bc",
            "LRANGE list 0 -1",
            "ZADD zset 1 a 2.5 b inf c",
            "ZINCRBY zset 0.25 a",
            "ZRANGEBYSCORE zset -inf +inf WITHSCORES",
            "ZREM zset b",
            "SADD set 1 2 3",
            "SADD set x",
            "SREM set 2",
            "SCARD set",
            "HSET hash a 1 b 2",
            "HINCRBY hash a 41",
            "HMGET hash a b c",
            "APPEND text abc",
            "SETRANGE text 1 X",
            "BITCOUNT text",
            "PFADD hll a b c",
            "PFCOUNT hll",
            "RENAME hash moved",
            "COPY list copied",
            "SUNIONSTORE union set",
            "PEXPIREAT set 99999999999999",
            "PERSIST set",
            "TYPE zset",
            "OBJECT ENCODING nothing",
            "DEL copied zset none",
            "GETDEL text",
            "SORT list ALPHA",
            "LRANGE text 0 1",
            "NOSUCHCOMMAND",
            "GET",
        ];
        for line in lines {
            let words: Vec<&str> = line.split(' ').collect();
            let mut call = vec!["FCALL", "any", "0"];
            call.extend(&words);
            assert_eq!(upstream.call(&call), own.call(&call), "{kind:?}: {line}");
            for key in ["list", "copied"] {
                let look = format!("LRANGE {key} 0 -1");
                assert_eq!(upstream.run(&look), own.run(&look), "{kind:?}: {line}");
            }
            for look in [
                "ZRANGE zset 0 -1 WITHSCORES",
                "SORT set ALPHA",
                "SORT union ALPHA",
                "HMGET hash a b",
                "HMGET moved a b",
                "GET text",
                "PFCOUNT hll",
                "PEXPIRETIME set",
            ] {
                assert_eq!(
                    upstream.run(look),
                    own.run(look),
                    "{kind:?}: {line}, {look}"
                );
            }
        }
    });
}

#[test]
fn a_failed_call_leaves_no_trace() {
    on_each(|kind| {
        let engine = engine(kind);
        let server = before(&engine).start();
        let mut client = server.client();
        define(
            &mut client,
            "trap",
            r#"(module
              (import "ferrite" "set" (func $set (param i32 i32 i32 i32 i32 i64) (result i32)))
              (memory (export "memory") 1)
              (data (i32.const 0) "key")
              (func (export "run")
                (drop (call $set (i32.const 0) (i32.const 3) (i32.const 0) (i32.const 3) (i32.const 0) (i64.const -1)))
                unreachable))"#,
        );
        let reply = client.run("WASM.CALL trap KEYS key");
        assert!(
            reply.error().is_some_and(|error| error.starts_with("TRAP")),
            "{reply:?}"
        );
        assert_eq!(client.run("EXISTS key"), Reply::Int(0));
    });
}

#[test]
fn a_profile_runs_for_real_and_rolls_back() {
    on_each(|kind| {
        let engine = engine(kind);
        let server = before(&engine).start();
        let mut client = server.client();
        define(&mut client, "ops", OPS);
        client.run("SET k 7");
        // The first call loads the function and the script.
        client.run("WASM.CALL ops.get KEYS k");
        let profile = client.run("WASM.PROFILE ops.incr KEYS k");
        let at = |name: &str| profile.at(name).and_then(Reply::int);
        assert_eq!(at("reply"), Some(10), "{profile:?}");
        assert_eq!(at("round_trips"), Some(1), "it writes nothing");
        assert_eq!(at("read_bytes"), Some(1));
        assert!(profile.at("engine_us").and_then(Reply::text).is_some());
        assert_eq!(client.run("GET k").text(), Some("7"));
    });
}

#[test]
fn background_calls_work_on_the_engine() {
    on_each(|kind| {
        let engine = engine(kind);
        let server = before(&engine).start();
        let mut client = server.client();
        define(&mut client, "ops", OPS);
        let id = client.run("WASM.CALLASYNC ops.incr KEYS k");
        let id = id.text().expect("an id").to_owned();
        assert_eq!(
            client.run(&format!("WASM.RESULT {id} BLOCK 60000")),
            Reply::Int(3)
        );
        assert_eq!(client.run("GET k").text(), Some("3"));
    });
}

#[test]
fn the_command_line_calls_on_data_of_an_engine() {
    on_each(|kind| {
        let engine = engine(kind);
        let mut direct = engine.client();
        direct.run("ACL SETUSER alice on >wonder ~* +@all");
        direct.run("SELECT 3");
        direct.run("SET n 41");
        let folder = tempfile::tempdir().expect("a temporary folder");
        let module = folder.path().join("count.wat");
        std::fs::write(&module, COUNT).expect("written");
        let run = |url: &str, more: &[&str], password: Option<&str>| {
            let mut run = command("ferrite-wasmc", "FERRITE_WASMC_BIN");
            run.arg("run")
                .arg(&module)
                .args(["--key", "n", "--upstream", url, "--database", "3"])
                .args(["--permissions", "read-write"])
                .args(more)
                .env("FERRITE_CACHE_DIR", folder.path().join("cache"));
            if let Some(password) = password {
                run.env("FERRITE_UPSTREAM_PASSWORD", password);
            }
            let output = run.output().expect("it runs");
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            (output.status.code(), text)
        };
        let plain = format!("redis://{}", engine.address());
        let user = format!("redis://alice@{}", engine.address());
        assert_eq!(run(&plain, &[], None), (Some(0), "(integer) 42\n".into()));
        assert_eq!(direct.run("GET n").text(), Some("42"));
        let (code, text) = run(&user, &["--profile"], Some("wonder"));
        assert_eq!(code, Some(0), "{text}");
        assert!(text.contains(" in 1 round trip, 2 B read"), "{text}");
        assert_eq!(direct.run("GET n").text(), Some("42"), "it is rolled back");
        let (code, text) = run(&user, &[], Some("wrong"));
        assert!(code == Some(1) && text.contains("WRONGPASS"), "{text}");
        let (code, text) = run(&plain, &["--permissions", "read-only"], None);
        assert_ne!(code, Some(0), "an option twice: {text}");
        assert_eq!(direct.run("GET n").text(), Some("42"));
    });
}
