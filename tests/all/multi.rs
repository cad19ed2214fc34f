//! `MULTI` and the commands around it.

use ferrite_tests::{Reply, Server};

use crate::guests::ADD1;

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
    for wrong in ["NOSUCH", "GET", "WASM.CALL f", "CLIENT LIST"] {
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

#[test]
fn functions_are_told_apart_from_what_can_be_held_back() {
    let server = Server::start();
    let mut client = server.client();
    assert!(
        client
            .call(&["WASM.DEFINE", "add1", ADD1])
            .error()
            .is_none()
    );
    assert_eq!(client.run("MULTI"), ok());
    let reply = client.run("FCALL add1 0 1");
    assert!(
        reply
            .error()
            .expect("refused")
            .contains("a call is a transaction of its own")
    );
}
