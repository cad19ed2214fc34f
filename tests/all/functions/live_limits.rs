//! Limits of functions that change while the server runs.

use ferrite_tests::{Client, Reply, Server, command};

use crate::support::guests::{ADD1, ENDLESS, LONG_CALLS};
use crate::support::waiting::wait_for_call;

/// A scalar: counts to its argument, which takes some fuel for each step.
const COUNT_TO: &str = r#"(module
  (func (export "run") (param $end i32) (result i32) (local $at i32)
    (loop $again
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (br_if $again (i32.lt_s (local.get $at) (local.get $end))))
    (local.get $at)))"#;

/// A scalar with a memory of 1.25 GiB, of which no page is touched.
const LARGE: &str = r#"(module (memory 20480) (func (export "run") (result i32) memory.size))"#;

fn ok() -> Reply {
    Reply::Simple("OK".into())
}

fn define(client: &mut Client, name: &str, wat: &str, options: &[&str]) -> Reply {
    client.call(&[&["WASM.DEFINE", name, wat], options].concat())
}

fn error(reply: &Reply) -> &str {
    reply.error().unwrap_or_else(|| panic!("{reply:?}"))
}

/// The limits in force of a function, as `WASM.INFO` shows them.
fn limits(client: &mut Client, name: &str) -> String {
    let info = client.run(&format!("WASM.INFO {name}"));
    let limits = info.at("limits").and_then(Reply::text);
    limits.expect("the limits").to_owned()
}

#[test]
fn defaults_hold_for_calls_from_then_on() {
    let server = Server::start();
    let mut client = server.client();
    define(&mut client, "plain", COUNT_TO, &[]);
    let own = r#"{"max_fuel":200000}"#;
    define(&mut client, "own", COUNT_TO, &["LIMITS", own]);
    for name in ["plain", "own"] {
        let reply = client.run(&format!("WASM.CALL {name} ARGS 10000"));
        assert_eq!(reply, Reply::Int(10_000), "{name}");
    }
    assert_eq!(client.run("CONFIG SET wasm.limits.max_fuel 1000"), ok());
    let reply = client.run("WASM.CALL plain ARGS 10000");
    assert!(error(&reply).starts_with("FUEL "), "{reply:?}");
    assert!(limits(&mut client, "plain").contains("\"max_fuel\":1000,"));
    // It has its own, and its code stays in memory.
    let info = client.run("WASM.INFO own");
    assert_eq!(info.at("loaded"), Some(&Reply::Int(1)), "{info:?}");
    let reply = client.run("WASM.CALL own ARGS 10000");
    assert_eq!(reply, Reply::Int(10_000));
    // Functions that are loaded now, too.
    define(&mut client, "late", COUNT_TO, &[]);
    let reply = client.run("WASM.CALL late ARGS 10000");
    assert!(error(&reply).starts_with("FUEL "), "{reply:?}");
    assert_eq!(client.run("CONFIG SET wasm.limits.max_fuel 10000000"), ok());
    for name in ["plain", "late"] {
        let reply = client.run(&format!("WASM.CALL {name} ARGS 10000"));
        assert_eq!(reply, Reply::Int(10_000), "{name}");
    }
    // The counters of a function stay.
    let info = client.run("WASM.INFO plain");
    assert_eq!(info.at("calls"), Some(&Reply::Int(3)), "{info:?}");
}

#[test]
fn the_most_holds_for_what_is_loaded_and_what_was() {
    let server = Server::start();
    let mut client = server.client();
    let own = ["LIMITS", r#"{"max_time":"20s"}"#];
    define(&mut client, "slow", ADD1, &own);
    assert_eq!(client.run("WASM.CALL slow ARGS 1"), Reply::Int(2));
    let reply = client.run("CONFIG SET wasm.limits.max.max_time 1s");
    assert!(
        error(&reply).contains("max_time is 5s by default, and functions may have 1s at most"),
        "{reply:?}"
    );
    assert_eq!(client.run("WASM.CALL slow ARGS 1"), Reply::Int(2));
    let both = "CONFIG SET wasm.limits.max.max_time 1s wasm.limits.max_time 500ms";
    assert_eq!(client.run(both), ok());
    for reply in [
        client.run("WASM.CALL slow ARGS 1"),
        define(&mut client, "other", ADD1, &own),
    ] {
        assert!(
            error(&reply)
                .contains("max_time 20s is more than any function may have here, which is 1s"),
            "{reply:?}"
        );
    }
    define(&mut client, "plain", ADD1, &[]);
    assert!(limits(&mut client, "plain").contains("\"max_time\":\"500ms\""));
    let none = client.call(&["CONFIG", "SET", "wasm.limits.max.max_time", ""]);
    assert_eq!(none, ok());
    assert_eq!(client.run("WASM.CALL slow ARGS 1"), Reply::Int(2));
    // More memory than functions could have at the start.
    let large = ["LIMITS", r#"{"max_memory":"2GB"}"#, "ISOLATION", "fresh"];
    assert!(error(&define(&mut client, "large", LARGE, &large)).contains("which is 1GB"));
    assert_eq!(
        client.run("CONFIG SET wasm.limits.max.max_memory 2GB"),
        ok()
    );
    define(&mut client, "large", LARGE, &large);
    assert_eq!(client.run("WASM.CALL large"), Reply::Int(20_480));
}

#[test]
fn limits_that_cannot_be_kept_are_refused_and_nothing_changes() {
    let server = Server::builder()
        .config(
            "[wasm.limits]\nmax_table_elements = 10\n[wasm.limits.max]\nmax_table_elements = 100\n",
        )
        .start();
    let mut client = server.client();
    for (pairs, expected) in [
        ("wasm.limits.max_fuel 0", "max_fuel must be at least 1"),
        ("wasm.limits.max_time soon", "soon"),
        ("wasm.limits.max_stack 1MB", "max_stack is fixed at 512KB"),
        (
            "wasm.limits.max.max_table_elements 101",
            "max_table_elements cannot be raised to 101 while the server runs",
        ),
        ("wasm.limits.max_table_elements 101", "100"),
    ] {
        let reply = client.run(&format!("CONFIG SET loglevel debug {pairs}"));
        let error = error(&reply);
        assert!(
            error.starts_with("ERR CONFIG SET failed: ") && error.contains(expected),
            "{pairs}: {error}"
        );
    }
    let level = client.run("CONFIG GET server.log");
    assert_eq!(level.at("server.log").and_then(Reply::text), Some("info"));
    let most = "CONFIG SET wasm.limits.max.max_table_elements 50";
    assert_eq!(client.run(most), ok());
}

#[test]
fn changed_limits_survive_a_restart_once_written() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let file = dir.path().join("ferrite.toml");
    std::fs::write(&file, "[wasm.limits]\nmax_fuel = 5000 # little\n").expect("written");
    let path = file.to_str().expect("UTF-8");
    let server = Server::builder().arguments(&["--config", path]).start();
    let mut client = server.client();
    let set = "CONFIG SET wasm.limits.max_fuel 6000 wasm.limits.max_reply 1MB wasm.limits.max.max_reply 2MB";
    assert_eq!(client.run(set), ok());
    assert_eq!(client.run("CONFIG REWRITE"), ok());
    let text = std::fs::read_to_string(&file).expect("the file");
    assert!(text.contains("max_fuel = 6000 # little\n"), "{text}");
    assert!(
        text.contains("[wasm.limits.max]\nmax_reply = \"2MB\"\n"),
        "{text}"
    );
    assert!(server.stop().success());
    let printed = command("ferrite-server", "FERRITE_SERVER_BIN")
        .args(["--print-config", "--config", path])
        .output()
        .expect("it runs");
    let printed = String::from_utf8_lossy(&printed.stdout).into_owned();
    for line in [
        "max_fuel = 6000\n",
        "max_reply = \"1MB\"\n",
        "max_reply = \"2MB\"\n",
    ] {
        assert!(printed.contains(line), "{line} is not in {printed}");
    }
}

#[test]
fn calls_that_began_before_a_change_end_as_they_began_and_can_be_killed() {
    let server = Server::builder().arguments(&LONG_CALLS).start();
    let mut client = server.client();
    define(&mut client, "endless", ENDLESS, &[]);
    let changes: [&[&str]; 3] = [
        &["CONFIG", "SET", "wasm.limits.max_fuel", "1000"],
        &["WASM.DEFINE", "endless", ENDLESS, "REPLACE"],
        &["WASM.CONFIG", "endless", r#"{"a":"b"}"#],
    ];
    for (change, by_id) in changes.into_iter().zip([false, true, false]) {
        client.run("CONFIG SET wasm.limits.max_fuel 1000000000000000");
        let mut busy = server.client();
        busy.send(b"WASM.CALL endless\r\n");
        wait_for_call(&mut client);
        let reply = client.call(change);
        assert!(reply.error().is_none(), "{change:?}: {reply:?}");
        // It goes on, and is found.
        wait_for_call(&mut client);
        let info = client.run("WASM.INFO endless");
        let calls = info.at("running_calls").and_then(Reply::elements);
        let [call] = calls.expect("the running calls") else {
            panic!("{info:?}");
        };
        let target = match by_id {
            true => call.at("id").and_then(Reply::text).expect("an id"),
            false => "endless",
        };
        assert_eq!(client.call(&["WASM.KILL", target]), Reply::Int(1));
        let reply = busy.reply();
        assert!(
            error(&reply).starts_with("KILLED "),
            "{change:?}: {reply:?}"
        );
    }
    client.run("CONFIG SET wasm.limits.max_fuel 1000");
    let reply = client.run("WASM.CALL endless");
    assert!(error(&reply).starts_with("FUEL "), "{reply:?}");
}

#[test]
fn two_clients_change_settings_without_losing_any() {
    let server = Server::start();
    std::thread::scope(|scope| {
        for key in ["wasm.limits.max_fuel", "server.max_connections"] {
            let mut client = server.client();
            scope.spawn(move || {
                for value in 1000..1200 {
                    let set = format!("CONFIG SET {key} {value}");
                    assert_eq!(client.run(&set), ok());
                    let reply = client.run(&format!("CONFIG GET {key}"));
                    let found = reply.at(key).and_then(Reply::text).map(str::to_owned);
                    assert_eq!(found, Some(value.to_string()), "{key}");
                }
            });
        }
    });
}
