//! `MULTI` and the commands around it.

use ferrite_tests::{Reply, Server};

use crate::support::guests::LONG_CALLS;

fn ok() -> Reply {
    Reply::Simple("OK".into())
}

fn queued() -> Reply {
    Reply::Simple("QUEUED".into())
}

fn aborted() -> Reply {
    Reply::Error("EXECABORT Transaction discarded because of previous errors.".into())
}

fn bulk(text: &str) -> Reply {
    Reply::Bulk(text.as_bytes().to_vec())
}

#[test]
fn what_was_held_back_runs_as_one() {
    let server = Server::start();
    let mut client = server.client();
    let mut other = server.client();
    assert_eq!(client.run("MULTI"), ok());
    for request in [
        "SET k 1",
        "INCR k",
        "SELECT 1",
        "SET k other",
        "PING",
        "ECHO hello",
    ] {
        assert_eq!(client.run(request), queued(), "{request}");
    }
    assert_eq!(other.run("GET k"), Reply::Null);
    assert_eq!(
        client.run("EXEC"),
        Reply::Array(vec![
            ok(),
            Reply::Int(2),
            ok(),
            ok(),
            Reply::Simple("PONG".into()),
            bulk("hello")
        ])
    );
    assert_eq!(other.run("GET k"), bulk("2"));
    assert_eq!(
        client.run("GET k"),
        bulk("other"),
        "SELECT holds after EXEC"
    );
}

#[test]
fn a_failing_request_does_not_undo_the_others() {
    let server = Server::start();
    let mut client = server.client();
    assert_eq!(client.run("MULTI"), ok());
    assert_eq!(client.run("SET k text"), queued());
    assert_eq!(client.run("INCR k"), queued());
    assert_eq!(client.run("SET l 1"), queued());
    let reply = client.run("EXEC");
    let replies = reply.elements().expect("an array");
    assert_eq!((&replies[0], &replies[2]), (&ok(), &ok()));
    assert!(replies[1].error().is_some());
}

#[test]
fn a_wrong_request_spoils_all() {
    let server = Server::start();
    let mut client = server.client();
    for wrong in ["NOSUCH", "GET", "WASM.CALL", "CLIENT LIST"] {
        assert_eq!(client.run("MULTI"), ok());
        assert_eq!(client.run("SET k v"), queued());
        assert!(client.run(wrong).error().is_some(), "{wrong}");
        let reply = client.run("EXEC");
        assert!(
            reply.error().expect(wrong).starts_with("EXECABORT "),
            "{wrong}: {reply:?}"
        );
        assert_eq!(client.run("EXISTS k"), Reply::Int(0));
    }
}

#[test]
fn watched_keys_decide() {
    let server = Server::start();
    let mut client = server.client();
    let mut other = server.client();
    assert_eq!(client.run("WATCH k l"), ok());
    assert_eq!(other.run("SET l 1"), ok());
    assert_eq!(client.run("MULTI"), ok());
    assert_eq!(client.run("SET k mine"), queued());
    assert_eq!(client.run("EXEC"), Reply::Null);
    assert_eq!(client.run("EXISTS k"), Reply::Int(0));

    assert_eq!(client.run("WATCH k"), ok());
    assert_eq!(client.run("UNWATCH"), ok());
    assert_eq!(other.run("SET k 1"), ok());
    assert_eq!(client.run("MULTI"), ok());
    assert_eq!(client.run("INCR k"), queued());
    assert_eq!(client.run("EXEC"), Reply::Array(vec![Reply::Int(2)]));
}

#[test]
fn what_changes_nothing_touches_no_watched_key() {
    let server = Server::start();
    let mut client = server.client();
    client.run("SETBIT bits 14 1");
    for (request, goes_on) in [
        ("SETBIT bits 14 1", true),
        ("SETBIT bits 3 0", true),
        ("BITFIELD bits SET u8 8 2 INCRBY u8 0 0", true),
        ("GETEX bits PERSIST", true),
        ("SETBIT bits 200 0", false),
        ("BITFIELD bits SET u8 8 3", false),
        ("GETEX bits EX 100", false),
        ("GETEX bits PERSIST", false),
    ] {
        assert_eq!(client.run("WATCH bits"), ok());
        let reply = client.run(request);
        assert!(reply.error().is_none(), "{request}: {reply:?}");
        assert_eq!(client.run("MULTI"), ok());
        let reply = client.run("EXEC");
        assert_eq!(reply != Reply::Null, goes_on, "{request}: {reply:?}");
    }
}

#[test]
fn odd_orders_are_told() {
    let server = Server::start();
    let mut client = server.client();
    assert_eq!(
        client.run("EXEC"),
        Reply::Error("ERR EXEC without MULTI".into())
    );
    assert_eq!(
        client.run("DISCARD"),
        Reply::Error("ERR DISCARD without MULTI".into())
    );
    assert_eq!(client.run("MULTI"), ok());
    assert_eq!(
        client.run("MULTI"),
        Reply::Error("ERR Command 'multi' not allowed inside a transaction".into())
    );
    assert_eq!(client.run("EXEC"), aborted());
    assert_eq!(client.run("MULTI"), ok());
    assert_eq!(
        client.run("WATCH k"),
        Reply::Error("ERR Command 'watch' not allowed inside a transaction".into())
    );
    assert_eq!(client.run("SET k v"), queued());
    assert_eq!(client.run("DISCARD"), ok());
    assert_eq!(client.run("EXISTS k"), Reply::Int(0));
    for (refused, error) in [
        (
            "OBJECT nosuch k",
            "ERR unknown subcommand 'nosuch'. Try OBJECT HELP.",
        ),
        (
            "OBJECT ENCODING",
            "ERR wrong number of arguments for 'object|encoding' command",
        ),
        ("SPOP", "ERR wrong number of arguments for 'spop' command"),
    ] {
        assert_eq!(client.run("MULTI"), ok());
        assert_eq!(client.run("SET k v"), queued());
        assert_eq!(client.run(refused), Reply::Error(error.into()));
        assert_eq!(client.run("EXEC"), aborted());
    }
    assert_eq!(client.run("MULTI"), ok());
    assert_eq!(
        client.run("EXEC now"),
        Reply::Error(
            "EXECABORT Transaction discarded because of: \
             wrong number of arguments for 'exec' command"
                .into()
        )
    );
    assert_eq!(
        client.run("EXEC"),
        Reply::Error("ERR EXEC without MULTI".into())
    );
    assert_eq!(client.run("EXISTS k"), Reply::Int(0));
    assert_eq!(client.run("MULTI"), ok());
    assert_eq!(client.run("EXEC"), Reply::Array(Vec::new()));
    assert_eq!(client.run("MULTI"), ok());
    assert_eq!(client.run("RESET"), Reply::Simple("RESET".into()));
    assert_eq!(client.run("PING"), Reply::Simple("PONG".into()));
}

/// Adds 1 to its first key, then does what the entry's name says.
const BUMP: &str = r#"(module
  (import "ferrite" "key" (func $key (param i32 i32 i32) (result i32)))
  (import "ferrite" "incr_by" (func $incr_by (param i32 i32 i64 i32) (result i32)))
  (import "ferrite" "reply_int" (func $reply_int (param i64)))
  (import "ferrite" "reply_error" (func $reply_error (param i32 i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "ODD told")
  (func $bump
    (drop (call $incr_by
      (i32.const 64) (call $key (i32.const 0) (i32.const 64) (i32.const 256))
      (i64.const 1) (i32.const 0))))
  (func (export "run") (call $bump) (call $reply_int (i64.load (i32.const 0))))
  (func (export "trap") (call $bump) unreachable)
  (func (export "error") (call $bump) (call $reply_error (i32.const 16) (i32.const 8)))
  (func (export "spin") (call $bump) (loop $again (br $again)))
  (func (export "long") (local $n i32)
    (call $bump)
    (local.set $n (i32.const 1000000))
    (loop $again (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (call $reply_int (i64.load (i32.const 0)))))"#;

const WRITES: &str = r#"{"allow_write": true}"#;

fn with_bump(arguments: &[&str]) -> Server {
    let server = Server::builder().arguments(arguments).start();
    let mut client = server.client();
    let defined = ["WASM.DEFINE", "bump", BUMP, "PERMISSIONS", WRITES];
    assert!(client.call(&defined).error().is_none());
    server
}

#[test]
fn calls_are_a_part_of_the_transaction() {
    let server = with_bump(&[]);
    let mut client = server.client();
    let mut other = server.client();
    assert_eq!(client.run("MULTI"), ok());
    for request in [
        "SET k 10",
        "FCALL bump 1 k",
        "INCR k",
        "WASM.CALL bump KEYS k",
        "WASM.CALL bump.long KEYS k",
        "SELECT 1",
        "FCALL bump 1 k",
        "WASM.CALL_RO bump KEYS k",
        "PING",
        "GET k",
    ] {
        assert_eq!(client.run(request), queued(), "{request}");
    }
    assert_eq!(other.run("GET k"), Reply::Null);
    let reply = client.run("EXEC");
    assert_eq!(
        reply,
        Reply::Array(vec![
            ok(),
            Reply::Int(11),
            Reply::Int(12),
            Reply::Int(13),
            Reply::Int(14),
            ok(),
            Reply::Int(1),
            // A write that is refused leaves the sum in memory at 0.
            Reply::Int(0),
            Reply::Simple("PONG".into()),
            bulk("1"),
        ])
    );
    assert_eq!(other.run("GET k"), bulk("14"));
    assert_eq!(client.run("GET k"), bulk("1"), "SELECT holds after EXEC");
    let info = client.run("WASM.INFO bump");
    assert_eq!(info.at("calls"), Some(&Reply::Int(5)));
}

#[test]
fn a_call_that_fails_is_taken_back_and_the_others_stand() {
    let server = with_bump(&LONG_CALLS);
    let mut client = server.client();
    assert_eq!(client.run("MULTI"), ok());
    for request in [
        "SET k 1",
        "HSET h f 1",
        "FCALL bump.trap 1 k",
        "FCALL bump 1 h",
        "FCALL nosuch 0",
        "FCALL bump.error 1 k",
        "WASM.CALL bump.spin TIMEOUT 20 KEYS k",
        "INCR k",
    ] {
        assert_eq!(client.run(request), queued(), "{request}");
    }
    let reply = client.run("EXEC");
    let replies = reply.elements().expect("an array");
    let code = |at: usize| {
        let error: &str = replies[at].error().expect("an error");
        error.split(' ').next().expect("a word").to_owned()
    };
    assert_eq!((&replies[0], &replies[1]), (&ok(), &Reply::Int(1)));
    assert_eq!(code(2), "TRAP");
    assert_eq!(code(4), "NOFUNC");
    // An error that a function replies is its reply; what it wrote stands.
    assert_eq!(replies[5], Reply::Error("ODD told".into()));
    assert_eq!(code(6), "TIMEOUT");
    assert_eq!(replies[7], Reply::Int(3));
    assert_eq!(client.run("GET k"), bulk("3"));
    assert_eq!(client.run("HGET h f"), bulk("1"));
}

#[test]
fn watched_keys_decide_about_calls_too() {
    let server = with_bump(&[]);
    let mut client = server.client();
    let mut other = server.client();
    for changed in [true, false] {
        assert_eq!(client.run("WATCH k"), ok());
        if changed {
            assert_eq!(other.run("SET k 1"), ok());
        }
        assert_eq!(client.run("MULTI"), ok());
        assert_eq!(client.run("FCALL bump 1 k"), queued());
        let expected = if changed {
            Reply::Null
        } else {
            Reply::Array(vec![Reply::Int(2)])
        };
        assert_eq!(client.run("EXEC"), expected);
    }
    assert_eq!(other.run("GET k"), bulk("2"));
}

#[test]
fn transactions_with_calls_lose_no_update() {
    const CLIENTS: usize = 4;
    const ROUNDS: usize = 100;
    let server = with_bump(&[]);
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                let mut client = server.client();
                for _ in 0..ROUNDS {
                    client.run("MULTI");
                    client.run("FCALL bump 1 one");
                    client.run("INCR other");
                    client.run("FCALL bump 1 one");
                    let reply = client.run("EXEC");
                    let replies = reply.elements().expect("an array");
                    let numbers: Vec<i64> = replies.iter().filter_map(Reply::int).collect();
                    assert_eq!(numbers[0] + 1, numbers[2], "nobody came in between");
                    assert_eq!(numbers[2], 2 * numbers[1]);
                }
            });
        }
    });
    let mut client = server.client();
    let sum = (CLIENTS * ROUNDS).to_string();
    assert_eq!(client.run("GET other"), bulk(&sum));
    let info = client.run("WASM.INFO bump");
    let calls = info.at("calls").and_then(Reply::int);
    assert_eq!(calls, i64::try_from(2 * CLIENTS * ROUNDS).ok());
}

#[test]
fn a_client_that_leaves_takes_its_transaction_with_it() {
    let server = with_bump(&LONG_CALLS);
    let mut client = server.client();
    let mut leaving = server.client();
    leaving.run("MULTI");
    leaving.run("SET k 1");
    leaving.run("FCALL bump.spin 1 k");
    leaving.send(b"EXEC\r\n");
    let running = |client: &mut ferrite_tests::Client| {
        let info = client.run("WASM.INFO bump");
        info.at("running").and_then(Reply::int).unwrap_or(0)
    };
    while running(&mut client) == 0 {}
    drop(leaving);
    while running(&mut client) > 0 {}
    assert_eq!(client.run("EXISTS k"), Reply::Int(0));
}

#[test]
fn of_the_commands_on_functions_only_calls_can_be_queued() {
    let server = with_bump(&[]);
    let mut client = server.client();
    for wrong in [
        "WASM.LIST",
        "WASM.CALLASYNC bump",
        "FCALL bump one",
        "FCALL bump",
    ] {
        assert_eq!(client.run("MULTI"), ok());
        assert!(client.run(wrong).error().is_some(), "{wrong}");
        let reply = client.run("EXEC");
        assert!(reply.error().expect("an error").starts_with("EXECABORT "));
    }
}
