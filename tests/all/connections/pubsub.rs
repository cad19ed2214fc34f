//! Messages between clients.

use ferrite_tests::{Client, Reply, Server};

fn bulk(text: &str) -> Reply {
    Reply::Bulk(text.as_bytes().to_vec())
}

fn event(words: &[&str], count: i64) -> Reply {
    let mut parts: Vec<Reply> = words.iter().map(|word| bulk(word)).collect();
    parts.push(Reply::Int(count));
    Reply::Array(parts)
}

fn message(words: &[&str]) -> Reply {
    Reply::Array(words.iter().map(|word| bulk(word)).collect())
}

fn next(client: &mut Client) -> Reply {
    client.reply()
}

/// Repeats a request until the reply is as wanted.
fn until(client: &mut Client, request: &str, wanted: &Reply) {
    for _ in 0..100_000 {
        if client.run(request) == *wanted {
            return;
        }
    }
    panic!("{request} never answered {wanted:?}");
}

#[test]
fn messages_reach_those_who_listen() {
    let server = Server::start();
    let (mut one, mut two, mut sender) = (server.client(), server.client(), server.client());
    assert_eq!(sender.run("PUBLISH news nobody"), Reply::Int(0));
    assert_eq!(
        one.run("SUBSCRIBE news sport"),
        event(&["subscribe", "news"], 1)
    );
    assert_eq!(next(&mut one), event(&["subscribe", "sport"], 2));
    assert_eq!(
        two.run("PSUBSCRIBE n?ws*"),
        event(&["psubscribe", "n?ws*"], 1)
    );
    assert_eq!(sender.run("PUBLISH news hello"), Reply::Int(2));
    assert_eq!(sender.run("PUBLISH sport goal"), Reply::Int(1));
    assert_eq!(next(&mut one), message(&["message", "news", "hello"]));
    assert_eq!(next(&mut one), message(&["message", "sport", "goal"]));
    assert_eq!(
        next(&mut two),
        message(&["pmessage", "n?ws*", "news", "hello"])
    );

    assert_eq!(
        sender.run("PUBSUB NUMSUB news other"),
        Reply::Array(vec![
            bulk("news"),
            Reply::Int(1),
            bulk("other"),
            Reply::Int(0)
        ])
    );
    assert_eq!(sender.run("PUBSUB NUMPAT"), Reply::Int(1));
    assert_eq!(
        sender.run("PUBSUB CHANNELS s*"),
        Reply::Array(vec![bulk("sport")])
    );

    assert_eq!(
        one.run("UNSUBSCRIBE news"),
        event(&["unsubscribe", "news"], 1)
    );
    assert_eq!(sender.run("PUBLISH news again"), Reply::Int(1));
    assert_eq!(one.run("UNSUBSCRIBE"), event(&["unsubscribe", "sport"], 0));
    assert_eq!(
        one.run("UNSUBSCRIBE"),
        Reply::Array(vec![bulk("unsubscribe"), Reply::Null, Reply::Int(0)])
    );
    assert_eq!(one.run("ECHO free"), bulk("free"));

    drop(two);
    until(&mut sender, "PUBSUB NUMPAT", &Reply::Int(0));
}

#[test]
fn a_listener_of_resp2_may_ask_for_little() {
    let server = Server::start();
    let (mut client, mut sender) = (server.client(), server.client());
    assert_eq!(client.run("SUBSCRIBE c"), event(&["subscribe", "c"], 1));
    let refused = client.run("GET k");
    assert_eq!(
        refused.error(),
        Some(
            "ERR Can't execute 'get': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET \
             are allowed in this context"
        )
    );
    assert_eq!(client.run("PING"), message(&["pong", ""]));
    assert_eq!(client.run("PING hi"), message(&["pong", "hi"]));
    assert_eq!(client.run("RESET"), Reply::Simple("RESET".into()));
    assert_eq!(sender.run("PUBLISH c m"), Reply::Int(0));
    assert_eq!(client.run("PING"), Reply::Simple("PONG".into()));
}

#[test]
fn in_resp3_messages_are_pushed_between_replies() {
    let server = Server::start();
    let mut client = server.client();
    client.hello3();
    let subscribed = Reply::Push(vec![bulk("subscribe"), bulk("c"), Reply::Int(1)]);
    assert_eq!(client.run("SUBSCRIBE c"), subscribed);
    assert_eq!(client.run("SET k v"), Reply::Simple("OK".into()));
    assert_eq!(client.run("PUBLISH c m"), Reply::Int(1));
    let pushed = Reply::Push(vec![bulk("message"), bulk("c"), bulk("m")]);
    assert_eq!(next(&mut client), pushed);
    assert_eq!(client.run("GET k"), bulk("v"));
}

#[test]
fn messages_of_a_transaction_are_sent_with_it() {
    let server = Server::start();
    let (mut listener, mut client) = (server.client(), server.client());
    assert_eq!(listener.run("SUBSCRIBE c"), event(&["subscribe", "c"], 1));
    client.run("MULTI");
    assert_eq!(client.run("SET k v"), Reply::Simple("QUEUED".into()));
    assert_eq!(client.run("PUBLISH c m"), Reply::Simple("QUEUED".into()));
    assert_eq!(
        client.run("EXEC"),
        Reply::Array(vec![Reply::Simple("OK".into()), Reply::Int(1)])
    );
    assert_eq!(next(&mut listener), message(&["message", "c", "m"]));
}

#[test]
fn events_of_keys_are_told_on_channels() {
    let server = Server::builder()
        .arguments(&["--notify-keyspace-events", "KEA"])
        .start();
    let (mut listener, mut client) = (server.client(), server.client());
    let pattern = "__key*__:*";
    assert_eq!(
        listener.run(&format!("PSUBSCRIBE {pattern}")),
        event(&["psubscribe", pattern], 1)
    );
    client.run("SET k v EX 100");
    client.run("MULTI");
    client.run("SELECT 3");
    client.run("LPUSH l a");
    client.run("RPOP l");
    client.run("EXEC");
    for (database, name, key) in [
        (0, "set", "k"),
        (0, "expire", "k"),
        (3, "lpush", "l"),
        (3, "rpop", "l"),
        (3, "del", "l"),
    ] {
        let by_key = format!("__keyspace@{database}__:{key}");
        let by_event = format!("__keyevent@{database}__:{name}");
        assert_eq!(
            next(&mut listener),
            message(&["pmessage", pattern, &by_key, name])
        );
        assert_eq!(
            next(&mut listener),
            message(&["pmessage", pattern, &by_event, key])
        );
    }
    assert_eq!(
        client
            .run("CONFIG GET notify-keyspace-events")
            .elements()
            .map(<[Reply]>::len),
        Some(2)
    );
    assert!(
        client
            .run("CONFIG SET notify-keyspace-events KEq")
            .error()
            .is_some()
    );
    let ok = Reply::Simple("OK".into());
    assert_eq!(client.run("CONFIG SET notify-keyspace-events Ex"), ok);
    client.run("SELECT 0");
    client.run("SET k v");
    client.run("PEXPIRE k 1");
    assert_eq!(
        next(&mut listener),
        message(&["pmessage", pattern, "__keyevent@0__:expired", "k"])
    );
}

#[test]
fn a_function_tells_its_events_when_it_has_committed() {
    let server = Server::builder()
        .arguments(&["--notify-keyspace-events", "E$"])
        .start();
    let (mut listener, mut client) = (server.client(), server.client());
    let source = r#"(module
        (import "ferrite" "set" (func $set (param i32 i32 i32 i32 i32 i64) (result i32)))
        (import "ferrite" "incr_by" (func $incr (param i32 i32 i64 i32) (result i32)))
        (memory (export "memory") 1)
        (data (i32.const 0) "key7")
        (func (export "run")
            (drop (call $set (i32.const 0) (i32.const 3) (i32.const 3) (i32.const 1) (i32.const 0) (i64.const -1)))
            (drop (call $incr (i32.const 0) (i32.const 3) (i64.const 1) (i32.const 16))))
        (func (export "fail") (call 2) unreachable))"#;
    let reply = client.call(&[
        "WASM.DEFINE",
        "writer",
        source,
        "PERMISSIONS",
        r#"{"allow_write":true}"#,
    ]);
    assert!(reply.error().is_none(), "{reply:?}");
    let pattern = "__keyevent@0__:*";
    assert_eq!(
        listener.run(&format!("PSUBSCRIBE {pattern}")),
        event(&["psubscribe", pattern], 1)
    );
    assert!(client.run("WASM.CALL writer.fail").error().is_some());
    assert!(client.run("WASM.CALL writer.run").error().is_none());
    for name in ["set", "incrby"] {
        let channel = format!("__keyevent@0__:{name}");
        assert_eq!(
            next(&mut listener),
            message(&["pmessage", pattern, &channel, "key"])
        );
    }
    client.run("PUBLISH __keyevent@0__:end x");
    assert_eq!(
        next(&mut listener),
        message(&["pmessage", pattern, "__keyevent@0__:end", "x"]),
        "the call that failed told nothing"
    );
}
