//! Client libraries in normal use, and `redis-benchmark`.
//!
//! `cargo xtask test` installs those of Python, Node.js and Go and passes their paths; without them
//! there is nothing to run, and the tests say so.

#![allow(clippy::print_stderr, reason = "a skipped test says why")]

use std::env;
use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

use ferrite_tests::{Server, target_dir};
use redis::{Commands as _, RedisResult};

use crate::support::guests::ADD1;

/// Value of a variable that holds a tool's path; without it, prints the skipped test.
fn tool(variable: &str) -> Option<OsString> {
    let value = env::var_os(variable).filter(|value| !value.is_empty());
    if value.is_none() {
        eprintln!("skipped: {variable} does not say where it is");
    }
    value
}

/// Runs a script of `tests/clients` on the port of a server, and expects success.
fn run_script(interpreter: impl AsRef<std::ffi::OsStr>, script: &str) {
    run_by(&mut Command::new(interpreter), script);
}

/// Does the same by a command that takes the script as its next argument.
fn run_by(command: &mut Command, script: &str) {
    let server = Server::start();
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("clients")
        .join(script);
    let output = command
        .arg(path)
        .arg(server.address().port().to_string())
        .output()
        .expect("the interpreter can be run");
    let (told, log) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{script}: {told}{log}");
    assert_eq!(told.trim(), "ok", "{log}");
}

#[test]
fn redis_py() {
    if let Some(python) = tool("FERRITE_PYTHON") {
        run_script(python, "redis_py.py");
    }
}

#[test]
fn valkey_glide() {
    if let Some(python) = tool("FERRITE_PYTHON") {
        run_script(python, "glide.py");
    }
}

#[test]
fn redigo() {
    let Some(python) = tool("FERRITE_PYTHON") else {
        return;
    };
    let sources = [
        "/usr/share/gocode".into(),
        target_dir().join("debian/root").join("usr/share/gocode"),
    ];
    let library = "src/github.com/gomodule/redigo";
    let Some(sources) = sources.iter().find(|path| path.join(library).is_dir()) else {
        eprintln!("skipped: redigo is not here (on Debian: golang-github-gomodule-redigo-dev)");
        return;
    };
    let mut go = Command::new(Path::new(&python).with_file_name("go"));
    go.arg("run")
        .env("GOPATH", sources)
        .env("GOCACHE", target_dir().join("go"))
        .env("GOTOOLCHAIN", "local")
        // Debian's package is for this way to find libraries.
        .env("GO111MODULE", "off");
    run_by(&mut go, "redigo.go");
}

#[test]
fn ioredis() {
    if tool("FERRITE_NODE_CLIENTS").is_some() {
        run_script("node", "ioredis.mjs");
    }
}

#[test]
fn node_redis() {
    if tool("FERRITE_NODE_CLIENTS").is_some() {
        run_script("node", "node_redis.mjs");
    }
}

#[test]
fn the_crate_redis() -> RedisResult<()> {
    let server = Server::start();
    for (database, protocol) in [(1, "resp2"), (2, "resp3")] {
        let address = format!(
            "redis://{}/{database}?protocol={protocol}",
            server.address()
        );
        let client = redis::Client::open(address)?;
        let mut connection = client.get_connection()?;
        usual_calls(&mut connection)?;
        pipelines_and_transactions(&client, &mut connection)?;
        let digest: String = redis::cmd("WASM.DEFINE")
            .arg(&["add1", ADD1, "REPLACE"])
            .query(&mut connection)?;
        assert!(digest.starts_with("blake3:"), "{digest}");
        let sum: i64 = redis::cmd("FCALL")
            .arg(&["add1", "0", "41"])
            .query(&mut connection)?;
        assert_eq!(sum, 42);
    }
    Ok(())
}

fn usual_calls(connection: &mut redis::Connection) -> RedisResult<()> {
    use std::collections::{BTreeMap, BTreeSet};

    let _: () = connection.set_ex("k", b"v\r\n\0".as_slice(), 100)?;
    let value: Vec<u8> = connection.get("k")?;
    assert_eq!(value, b"v\r\n\0");
    let ttl: i64 = connection.ttl("k")?;
    assert!((1..=100).contains(&ttl), "{ttl}");
    let nothing: Option<String> = connection.get("nothing")?;
    assert_eq!(nothing, None);
    let _: () = connection.mset(&[("a", 1), ("b", 2)])?;
    let values: Vec<Option<i64>> = connection.mget(&["a", "b", "nothing"])?;
    assert_eq!(values, [Some(1), Some(2), None]);
    let sum: i64 = connection.incr("a", 41)?;
    assert_eq!(sum, 42);
    let _: () = connection.hset_multiple("h", &[("x", 1), ("y", 2)])?;
    let fields: BTreeMap<String, i64> = connection.hgetall("h")?;
    assert_eq!(fields, BTreeMap::from([("x".into(), 1), ("y".into(), 2)]));
    let length: usize = connection.rpush("l", &[1, 2, 3])?;
    assert_eq!(length, 3);
    let popped: (String, i64) = connection.blpop("l", 1.0)?;
    assert_eq!(popped, ("l".into(), 1));
    let _: () = connection.sadd("s", &["x", "y"])?;
    let members: BTreeSet<String> = connection.smembers("s")?;
    assert_eq!(members, BTreeSet::from(["x".into(), "y".into()]));
    let _: () = connection.zadd_multiple("z", &[(1.0, "one"), (2.5, "two")])?;
    let scored: Vec<(String, f64)> = connection.zrange_withscores("z", 0, -1)?;
    assert_eq!(scored, [("one".into(), 1.0), ("two".into(), 2.5)]);
    let mut found: Vec<String> = connection.scan::<String>()?.collect::<RedisResult<_>>()?;
    found.sort();
    assert_eq!(found, ["a", "b", "h", "k", "l", "s", "z"]);
    let wrong: RedisResult<i64> = connection.incr("l", 1);
    let wrong = wrong.expect_err("a list is no number").to_string();
    assert!(wrong.contains("wrong kind of value"), "{wrong}");
    Ok(())
}

fn pipelines_and_transactions(
    client: &redis::Client,
    connection: &mut redis::Connection,
) -> RedisResult<()> {
    let mut pipeline = redis::pipe();
    for number in 0..1000 {
        pipeline.set(format!("p:{number}"), number).ignore();
        pipeline.get(format!("p:{number}"));
    }
    let replies: Vec<i64> = pipeline.query(connection)?;
    assert_eq!(replies, (0..1000).collect::<Vec<i64>>());

    let mut other = client.get_connection()?;
    let _: () = connection.set("n", 1)?;
    let mut tries = 0;
    let (sum,): (i64,) = redis::transaction(connection, &["n"], |connection, pipeline| {
        let number: i64 = connection.get("n")?;
        tries += 1;
        if tries == 1 {
            // Another client writes first, so that the first try does nothing.
            let _: () = other.set("n", 10)?;
        }
        pipeline
            .set("n", number + 1)
            .ignore()
            .incr("n", 1)
            .query(connection)
    })?;
    assert_eq!((tries, sum), (2, 12));
    Ok(())
}

#[test]
fn redis_benchmark() {
    let Some(program) = tool("FERRITE_REDIS_BENCHMARK") else {
        return;
    };
    let server = Server::start();
    for more in [
        &[][..],
        &["-P", "16", "-c", "20"],
        &["-r", "1000", "-P", "4"],
    ] {
        let output = Command::new(&program)
            .args(["-q", "-n", "500", "-h", "127.0.0.1", "-p"])
            .arg(server.address().port().to_string())
            .args(more)
            .output()
            .expect("it can be run");
        let text = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{more:?}: {text}");
        let complaint = ["ERR", "rror", "WRONGTYPE", "WARNING"]
            .into_iter()
            .find(|word| text.contains(word));
        assert_eq!(complaint, None, "{more:?}: {text}");
        // Its standard tests; some have a second name in parentheses.
        for test in [
            "PING_INLINE",
            "SET",
            "ZPOPMIN",
            "LRANGE_600",
            "MSET (10 keys)",
        ] {
            assert!(text.contains(test), "{test} is not in {text}");
        }
        let measured = text.matches("requests per second").count();
        assert!(measured >= 20, "{measured} tests in {text}");
    }
}
