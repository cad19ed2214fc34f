//! The operator's view: errors of functions, figures, settings.

use ferrite_tests::{Client, Reply, Server, command};

use crate::support::guests::{ADD1, COUNT, ENDLESS, LONG_CALLS};
use crate::support::waiting::{wait_for_call, wait_until};

/// Tries to write its first key and replies what its entry's name says, whatever the status was.
const WRITER: &str = r#"(module
  (import "ferrite" "key" (func $key (param i32 i32 i32) (result i32)))
  (import "ferrite" "set" (func $set (param i32 i32 i32 i32 i32 i64) (result i32)))
  (import "ferrite" "reply_error" (func $reply_error (param i32 i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "ODD a text of its own")
  (func $write (drop (call $set
    (i32.const 64) (call $key (i32.const 0) (i32.const 64) (i32.const 256))
    (i32.const 0) (i32.const 3) (i32.const 0) (i64.const -1))))
  (func (export "silent") (call $write))
  (func (export "error") (call $write) (call $reply_error (i32.const 0) (i32.const 21)))
  (func (export "trap") (call $write) unreachable))"#;

pub(super) fn ok() -> Reply {
    Reply::Simple("OK".into())
}

/// The lines of `INFO`, or of some of its sections.
fn info(client: &mut Client, sections: &str) -> String {
    let reply = client.run(format!("INFO {sections}").trim());
    reply.text().expect("text").to_owned()
}

/// The value of a line of `INFO`.
pub(super) fn field(client: &mut Client, name: &str) -> String {
    let text = info(client, "everything");
    let prefix = format!("{name}:");
    let value = text.lines().find_map(|line| line.strip_prefix(&prefix));
    value
        .unwrap_or_else(|| panic!("no {name} in {text}"))
        .to_owned()
}

#[test]
fn a_refused_write_is_told_wherever_errors_are_told() {
    let server = Server::builder()
        .arguments(&["--wasm-audit", "errors", "--log-format", "json"])
        .start();
    let mut client = server.client();
    client.call(&["WASM.DEFINE", "reader", WRITER]);
    let some = r#"{"allow_write":true,"denied_keys":["secret:*"]}"#;
    client.call(&["WASM.DEFINE", "some", WRITER, "PERMISSIONS", some]);
    assert_eq!(client.run("WASM.CALL reader.silent KEYS k"), ok());
    assert!(
        client
            .run("WASM.CALL reader.error KEYS k")
            .error()
            .is_some()
    );
    assert!(client.run("FCALL reader.trap 1 k").error().is_some());
    assert_eq!(client.run("WASM.CALL some.silent KEYS secret:1"), ok());
    assert_eq!(client.run("WASM.CALL_RO some.silent KEYS open"), ok());
    assert_eq!(client.run("WASM.CALL some.silent KEYS open"), ok());
    let told = client.run("WASM.INFO reader");
    let by_code = told.at("errors_by_code").expect("a map");
    assert_eq!(by_code.at("NOPERM"), Some(&Reply::Int(3)), "{told:?}");
    assert_eq!(by_code.at("TRAP"), Some(&Reply::Int(1)), "{told:?}");
    assert_eq!(told.at("calls"), Some(&Reply::Int(3)));
    let told = client.run("WASM.INFO some");
    let last = told.at("last_error").and_then(Reply::text).expect("text");
    assert!(
        last.starts_with("NOPERM ") && last.contains("this call may only read"),
        "{last}"
    );
    let errors = format!("{:?}", client.run("WASM.ERRORS some"));
    assert!(
        errors.contains("secret:*") && errors.contains("denied_keys"),
        "{errors}"
    );
    assert!(server.stop_and_log(|log| {
        let lines: Vec<&str> = log
            .lines()
            .filter(|line| line.contains("ferrite::audit"))
            .collect();
        assert_eq!(lines.len(), 5, "{log}");
        let with = |part: &str| lines.iter().filter(|line| line.contains(part)).count();
        assert_eq!(with("load it with allow_write"), 3, "{log}");
        assert_eq!(with("matches \\\"secret:*\\\" in denied_keys"), 1, "{log}");
        assert_eq!(with("\"outcome\":\"ODD\""), 1, "{log}");
        assert_eq!(with("\"outcome\":\"TRAP\""), 1, "{log}");
    }));
}

#[test]
fn calls_that_end_by_time_or_kill_tell_what_they_used() {
    let server = Server::builder().arguments(&LONG_CALLS).start();
    let mut client = server.client();
    client.call(&["WASM.DEFINE", "endless", ENDLESS]);
    let profile = client.run("WASM.PROFILE endless TIMEOUT 50");
    let number = |reply: &Reply, name: &str| reply.at(name).and_then(Reply::int).unwrap_or(0);
    let fuel = number(&profile, "fuel");
    assert!(fuel > 1_000_000, "50 ms of computing: {profile:?}");
    let error = profile.at("error").and_then(Reply::text).expect("an error");
    assert!(error.starts_with("TIMEOUT "), "{error}");
    // A client that goes away leaves the fuel of its call, too.
    let mut busy = server.client();
    busy.send(b"WASM.CALL endless\r\n");
    wait_for_call(&mut client);
    let running = |client: &mut Client| {
        let told = client.run("WASM.INFO endless");
        let calls = told.at("running_calls").and_then(Reply::elements);
        let call = calls.and_then(|calls| calls.first().cloned());
        call.and_then(|call| {
            call.at("running_us")
                .and_then(Reply::text)?
                .parse::<f64>()
                .ok()
        })
    };
    while running(&mut client).is_some_and(|micros| micros < 50_000.0) {}
    drop(busy);
    wait_until(&mut client, "errors:2\r\n");
    let told = client.run("WASM.INFO endless");
    assert!(number(&told, "fuel") > fuel + 1_000_000, "{told:?}");
}

#[test]
fn changes_of_functions_are_logged_with_who_and_what() {
    let server = Server::builder()
        .arguments(&["--log-format", "json"])
        .start();
    let mut client = server.client();
    client.run("CLIENT SETNAME deployer");
    let digest = client.call(&["WASM.DEFINE", "count", COUNT]);
    let digest = digest.text().expect("a digest").to_owned();
    assert!(
        client
            .call(&["WASM.DEFINE", "count", COUNT])
            .error()
            .is_some()
    );
    client.run(&format!("WASM.RELOAD count {digest}"));
    client.run("WASM.UNLOAD count");
    let peer = client.local_address().to_string();
    assert!(server.stop_and_log(|log| {
        let lines: Vec<&str> = log
            .lines()
            .filter(|line| line.contains("ferrite::changes"))
            .collect();
        assert_eq!(lines.len(), 4, "{log}");
        for (line, parts) in lines.iter().zip([
            ["WASM.DEFINE", &digest],
            ["WASM.DEFINE", "EXISTS"],
            ["WASM.RELOAD", &digest],
            ["WASM.UNLOAD", "OK"],
        ]) {
            for part in parts.into_iter().chain(["count", &peer, "default"]) {
                assert!(line.contains(part), "{part} is not in {line}");
            }
        }
    }));
}

#[test]
fn rights_that_a_replacement_loses_are_logged() {
    let server = Server::builder()
        .arguments(&["--log-format", "json"])
        .start();
    let mut client = server.client();
    let mut define = |options: &[&str]| {
        let reply = client.call(&[&["WASM.LOAD", "count", COUNT], options].concat());
        assert!(reply.text().is_some(), "{reply:?}");
    };
    let write = ["PERMISSIONS", "read-write", "REPLACE"];
    define(&[&write[..], &["LIMITS", r#"{"max_time": 50}"#]].concat());
    define(&write);
    define(&["REPLACE"]);
    define(&["REPLACE"]);
    define(&["PERMISSIONS", "none", "REPLACE"]);
    assert!(server.stop_and_log(|log| {
        let lost: Vec<&str> = log
            .lines()
            .filter(|line| line.contains("the function that is replaced had others"))
            .filter_map(|line| line.split("\"options\":\"").nth(1)?.split('"').next())
            .collect();
        assert_eq!(lost, ["LIMITS", "PERMISSIONS"], "{log}");
    }));
}

#[test]
fn info_tells_what_tools_ask_for() {
    let server = Server::start();
    let mut client = server.client();
    for name in [
        "redis_mode:standalone",
        "cluster_enabled:0",
        "role:master",
        "connected_slaves:0",
        "loading:0",
        "evicted_keys:0",
        "maxmemory:0",
        "maxmemory_policy:noeviction",
        "aof_enabled:1",
        "aof_last_write_status:ok",
        "rdb_bgsave_in_progress:0",
        "blocked_clients:0",
        "connected_clients:1",
    ] {
        assert!(
            info(&mut client, "").contains(&format!("{name}\r\n")),
            "{name}"
        );
    }
    assert_eq!(
        field(&mut client, "tcp_port"),
        server.address().port().to_string()
    );
    assert_eq!(field(&mut client, "process_id"), server.pid().to_string());
    let run_id = field(&mut client, "run_id");
    assert!(run_id.len() == 40 && run_id.bytes().all(|byte| byte.is_ascii_hexdigit()));
    assert!(
        field(&mut client, "used_memory")
            .parse::<u64>()
            .expect("bytes")
            > 1 << 20
    );
    assert!(field(&mut client, "used_memory_peak_human").ends_with('M'));

    client.run("SET k v");
    client.run("SET brief v PX 1");
    for request in [
        "GET k",
        "GET k",
        "EXISTS nothing",
        "MGET k nothing",
        "INCR n",
    ] {
        client.run(request);
    }
    assert_eq!(field(&mut client, "keyspace_hits"), "3");
    assert_eq!(field(&mut client, "keyspace_misses"), "2");
    wait_until(&mut client, "expired_keys:1\r\n");
    assert_eq!(field(&mut client, "rdb_changes_since_last_save"), "4");
    client.run("GET");
    client.run("INCR k");
    client.run("NOSUCH");
    let text = info(&mut client, "commandstats errorstats");
    let line = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(name));
        line.unwrap_or_else(|| panic!("no {name} in {text}"))
            .to_owned()
    };
    let get = line("cmdstat_get:");
    assert!(
        get.contains("calls=2,") && get.contains("rejected_calls=1,"),
        "{get}"
    );
    assert!(line("cmdstat_incr:").contains("failed_calls=1"), "{text}");
    assert_eq!(line("errorstat_ERR:"), "errorstat_ERR:count=3");
    assert!(
        !info(&mut client, "").contains("cmdstat_"),
        "only if it is asked for"
    );

    let mut waiting = server.client();
    waiting.send(b"BLPOP list 0\r\n");
    wait_until(&mut client, "blocked_clients:1\r\n");
    client.run("RPUSH list x");
    assert!(waiting.reply().elements().is_some());
    assert_eq!(field(&mut client, "blocked_clients"), "0");
    assert_eq!(client.run("CONFIG RESETSTAT"), ok());
    assert_eq!(field(&mut client, "keyspace_hits"), "0");
    assert!(!info(&mut client, "errorstats").contains("errorstat_"));
}

#[test]
fn settings_change_while_the_server_runs() {
    let server = Server::start();
    let mut client = server.client();
    let set = |client: &mut Client, pairs: &str| client.run(&format!("CONFIG SET {pairs}"));
    let get = |client: &mut Client, name: &str| {
        let reply = client.run(&format!("CONFIG GET {name}"));
        reply.at(name).and_then(Reply::text).map(str::to_owned)
    };
    assert_eq!(set(&mut client, "maxclients 1 loglevel debug"), ok());
    assert_eq!(get(&mut client, "maxclients").as_deref(), Some("1"));
    assert_eq!(
        get(&mut client, "server.max_connections").as_deref(),
        Some("1")
    );
    assert_eq!(get(&mut client, "server.log").as_deref(), Some("debug"));
    let refused = server.client().run("PING");
    assert!(
        refused
            .error()
            .expect("an error")
            .contains("max number of clients")
    );
    // All of them or none, and the error names the value.
    let error = set(&mut client, "maxclients 100 slowlog-log-slower-than soon");
    assert!(
        error.error().expect("an error").contains("\"soon\""),
        "{error:?}"
    );
    assert_eq!(get(&mut client, "maxclients").as_deref(), Some("1"));
    for wrong in [
        "server.port 1",
        "nosuch 1",
        "maxmemory-policy allkeys-lru",
        "maxmemory-policy volatile-ttl",
        "server.log ferrite=loud",
        "maxclients 5 server.max_connections 6",
        "store.durability sometimes",
    ] {
        let reply = set(&mut client, wrong);
        let error = reply.error().unwrap_or_else(|| panic!("{wrong} is taken"));
        assert!(error.starts_with("ERR CONFIG SET failed: "), "{error}");
    }
    let reply = set(&mut client, "maxmemory-policy allkeys-lru");
    let error = reply.error().unwrap_or_default();
    assert!(
        error.contains("allkeys-lru") && error.contains("evicts nothing"),
        "{error}"
    );
    for value in ["lots", "-1", "1.5gb", "99999999999gb"] {
        let reply = set(&mut client, &format!("maxmemory {value}"));
        let error = reply.error().unwrap_or_else(|| panic!("{value} is taken"));
        assert!(
            error.contains("'maxmemory' must be a number of bytes such as 100mb")
                && error.contains(value),
            "{error}"
        );
    }
    assert_eq!(get(&mut client, "maxmemory").as_deref(), Some("0"));
    assert_eq!(
        set(
            &mut client,
            "maxmemory-policy noeviction appendfsync always"
        ),
        ok()
    );
    assert_eq!(client.run("SET k v"), ok());
    assert_eq!(set(&mut client, "appendfsync no"), ok());
    assert_eq!(client.run("SET k w"), ok());
    assert_eq!(get(&mut client, "timeout").as_deref(), Some("0"));
    assert!(
        client.run("CONFIG REWRITE").error().is_some(),
        "there is no file"
    );
    assert!(server.stop_and_log(|log| {
        assert!(log.contains("the configuration was changed"), "{log}");
    }));
}

#[test]
fn a_full_memory_refuses_what_needs_more_and_nothing_else() {
    let server = Server::start();
    let mut client = server.client();
    let write = r#"{"allow_write":true}"#;
    client.call(&["WASM.DEFINE", "count", COUNT, "PERMISSIONS", write]);
    client.run("SET k v");
    assert_eq!(client.run("CONFIG SET maxmemory 1mb"), ok());
    let oom = |reply: Reply| reply.error().is_some_and(|error| error.starts_with("OOM "));
    assert!(oom(client.run("SET other v")));
    assert!(oom(client.run("RPUSH list x")));
    // A transaction runs whole or not at all: refused when it is queued, and when the memory filled up since.
    client.run("MULTI");
    assert_eq!(client.run("DEL k"), Reply::Simple("QUEUED".into()));
    assert!(oom(client.run("SET other v")));
    let aborted = |reply: Reply| {
        let text = reply.error().unwrap_or_default().to_owned();
        assert!(text.starts_with("EXECABORT "), "{text:?}");
        text
    };
    aborted(client.run("EXEC"));
    let mut operator = server.client();
    for call in ["ECHO x", "WASM.CALL count KEYS n"] {
        assert_eq!(operator.run("CONFIG SET maxmemory 0"), ok());
        client.run("MULTI");
        for queued in ["DEL k", "SET other v", call] {
            assert_eq!(client.run(queued), Reply::Simple("QUEUED".into()));
        }
        assert_eq!(operator.run("CONFIG SET maxmemory 1mb"), ok());
        let text = aborted(client.run("EXEC"));
        assert!(
            text.contains("because of: OOM command not allowed"),
            "{text}"
        );
        assert!(client.run("EXEC").error().is_some(), "nothing is queued");
    }
    client.run("MULTI");
    client.run("GET k");
    client.run("DEL nothing");
    let reply = client.run("EXEC");
    assert_eq!(
        reply.elements().map(<[_]>::len),
        Some(2),
        "it needs no memory"
    );
    // The function sees the status and replies it.
    assert_eq!(client.run("WASM.CALL count KEYS n"), Reply::Int(-21));
    assert_eq!(client.run("GET k"), Reply::Bulk(b"v".to_vec()));
    assert_eq!(client.run("DEL k"), Reply::Int(1));
    assert_eq!(client.run("CONFIG SET maxmemory 0"), ok());
    assert_eq!(client.run("SET other v"), ok());
}

#[test]
fn changed_settings_are_written_into_the_file() {
    let server = Server::builder()
        .config("# mine\n[server]\nlog = \"info\" # enough\n")
        .start();
    let mut client = server.client();
    assert_eq!(
        client.run("CONFIG SET loglevel warning maxmemory 2gb"),
        ok()
    );
    assert_eq!(client.run("CONFIG REWRITE"), ok());
    let path = field(&mut client, "config_file");
    let text = std::fs::read_to_string(&path).expect("the file");
    assert!(
        text.contains("# mine\n") && text.contains("log = \"warn\" # enough\n"),
        "{text}"
    );
    assert!(text.contains("max_memory = \"2GB\"\n"), "{text}");
    let checked = command("ferrite-server", "FERRITE_SERVER_BIN")
        .args(["--check-config", "--config", &path])
        .output()
        .expect("it runs");
    assert!(checked.status.success(), "{checked:?}");
}

#[test]
fn slow_commands_are_kept_and_told() {
    let server = Server::start();
    let mut client = server.client();
    assert_eq!(client.run("LATENCY LATEST"), Reply::Array(Vec::new()));
    assert_eq!(client.run("CONFIG SET slowlog-log-slower-than 1"), ok());
    client.run("SORT nothing");
    client.run("KEYS *");
    let slow = format!("{:?}", client.run("SLOWLOG GET"));
    assert!(slow.contains("KEYS"), "{slow}");
    let latest = client.run("LATENCY LATEST");
    let event = latest.elements().expect("events")[0]
        .elements()
        .expect("an event");
    assert_eq!(event[0].text(), Some("command"));
    let history = client.run("LATENCY HISTORY command");
    assert!(!history.elements().expect("entries").is_empty());
    let report = client.run("LATENCY DOCTOR");
    assert!(
        report.text().expect("text").contains("command: "),
        "{report:?}"
    );
    assert_eq!(client.run("LATENCY RESET command"), Reply::Int(1));
    assert_eq!(client.run("CONFIG SET slowlog-log-slower-than -1"), ok());
    client.run("KEYS *");
    assert_eq!(client.run("LATENCY LATEST"), Reply::Array(Vec::new()));
}

#[test]
fn small_commands_of_operators_answer() {
    let server = Server::start();
    let mut client = server.client();
    let time = client.run("TIME");
    let time = time.elements().expect("two numbers");
    assert!(
        time[0]
            .text()
            .expect("seconds")
            .parse::<u64>()
            .expect("a number")
            > 1_700_000_000
    );
    let role = client.run("ROLE");
    assert_eq!(role.elements().expect("three")[0].text(), Some("master"));
    client.run("SET short x");
    client.call(&["SET", "long", &"x".repeat(10_000)]);
    let usage = |client: &mut Client, key: &str| client.run(&format!("MEMORY USAGE {key}")).int();
    let (short, long) = (usage(&mut client, "short"), usage(&mut client, "long"));
    assert!(
        short.is_some_and(|bytes| (30..300).contains(&bytes)),
        "{short:?}"
    );
    assert!(
        long.is_some_and(|bytes| (10_000..12_000).contains(&bytes)),
        "{long:?}"
    );
    for number in 0..1000 {
        client.run(&format!("HSET hash f{number} value"));
    }
    let hash = usage(&mut client, "hash").expect("a number");
    assert!((20_000..200_000).contains(&hash), "{hash}");
    let all = client
        .run("MEMORY USAGE hash SAMPLES 0")
        .int()
        .expect("a number");
    assert!((all - hash).abs() < hash / 4, "{all} {hash}");
    assert_eq!(usage(&mut client, "nothing"), None);
    assert!(client.run("MEMORY DOCTOR").text().is_some());
    assert!(
        client
            .run("MEMORY STATS")
            .at("keys.count")
            .and_then(Reply::int)
            == Some(3)
    );
    assert_eq!(client.run("MEMORY PURGE"), ok());
    let keys = client.run("COMMAND GETKEYS MEMORY USAGE k");
    assert_eq!(keys, Reply::Array(vec![Reply::Bulk(b"k".to_vec())]));
}

#[test]
fn monitor_shows_what_clients_ask_for() {
    let server = Server::start();
    let (mut watcher, mut other) = (server.client(), server.client());
    assert_eq!(watcher.run("MONITOR"), Reply::Simple("OK".into()));
    let address = other
        .run("CLIENT INFO")
        .text()
        .and_then(|info| Some(info.split(' ').nth(1)?.strip_prefix("addr=")?.to_owned()))
        .expect("an address");
    let mut next = || match watcher.reply() {
        Reply::Simple(line) => {
            let (time, request) = line.split_once(' ').expect("a time and a request");
            assert!(time.parse::<f64>().is_ok_and(|time| time > 1.7e9), "{line}");
            request.to_owned()
        }
        reply => panic!("no line: {reply:?}"),
    };
    // Of `CLIENT` some subcommands close connections, but none of its words is a secret.
    assert_eq!(next(), format!("[0 {address}] \"CLIENT\" \"INFO\""));
    other.call(&["SELECT", "3"]);
    next();
    other.call(&["set", "a b", "\r\n\"\u{e9}"]);
    let shown = format!(r#"[3 {address}] "set" "a b" "\r\n\"\xc3\xa9""#);
    assert_eq!(next(), shown);
    // Secrets, and what nobody knows, are not shown.
    other.run("AUTH default secret");
    other.run("HELLO 2 AUTH default secret");
    other.run("CONFIG GET maxmemory");
    other.run("ACL WHOAMI");
    other.call(&["WASM.DEFINE", "add1", ADD1]);
    other.run("NOSUCH secret");
    other.run("WASM.CALL add1 ARGS 1");
    assert_eq!(
        next(),
        format!(r#"[3 {address}] "WASM.CALL" "add1" "ARGS" "1""#)
    );
    // Refused requests are.
    other.run("GET");
    assert_eq!(next(), format!(r#"[3 {address}] "GET""#));
    assert_eq!(watcher.run("RESET"), Reply::Simple("RESET".into()));
    other.run("PING");
    assert_eq!(watcher.run("PING"), Reply::Simple("PONG".into()));

    let refused = other.run("MONITOR all");
    assert!(
        refused
            .error()
            .is_some_and(|error| error.contains("wrong number of arguments")),
        "{refused:?}"
    );
    other.run("MULTI");
    let refused = other.run("MONITOR");
    assert!(
        refused
            .error()
            .is_some_and(|error| error.contains("not allowed in MULTI")),
        "{refused:?}"
    );
}
