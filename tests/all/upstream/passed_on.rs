//! Everything that is no command on functions passes to the engine and back unchanged.

use ferrite_tests::{Client, Reply, encode};

use super::{COUNT, OPS, before, define, engine, on_each};

#[test]
fn requests_and_replies_pass_unchanged() {
    on_each(|kind| {
        let engine = engine(kind);
        let server = before(&engine).start();
        let (mut client, mut direct) = (server.client(), engine.client());
        direct.run("XADD s 1-1 f v");
        let lines = [
            "PING",
            "ECHO hello",
            "SET k v",
            "GET k",
            "OBJECT ENCODING k",
            "CONFIG GET maxmemory",
            "XRANGE s - +",
            "EVAL return{1,{2}} 0",
            "NOSUCH command",
            "GET",
            "SELECT 3",
            "DBSIZE",
            "SELECT 99",
            "LRANGE none 0 -1",
            "FCALL none 0",
        ];
        for line in lines {
            assert_eq!(client.run(line), direct.run(line), "{kind:?}: {line}");
        }
        // In RESP3, too.
        for client in [&mut client, &mut direct] {
            client.hello3();
        }
        for line in [
            "HSET h f v",
            "HGETALL h",
            "ZADD z 1.5 a",
            "ZSCORE z a",
            "GET none",
        ] {
            let reply = direct.run(line);
            let undone = line.split(' ').nth(1).unwrap_or_default();
            if line.contains("ADD") || line.starts_with("HSET") {
                direct.run(&format!("DEL {undone}"));
            }
            assert_eq!(client.run(line), reply, "{kind:?}: {line}");
        }
    });
}

#[test]
fn a_pipeline_is_answered_in_order() {
    on_each(|kind| {
        let engine = engine(kind);
        let server = before(&engine).start();
        let mut client = server.client();
        define(&mut client, "count", COUNT);
        let mut requests = Vec::new();
        for round in 0..200 {
            requests.extend(encode(&["SET", "k", &(round * 10).to_string()]));
            requests.extend(encode(&["WASM.CALL", "count", "KEYS", "k"]));
            requests.extend(encode(&["GET", "k"]));
            requests.extend(encode(&["FCALL", "count", "1", "k"]));
        }
        client.send(&requests);
        for round in 0..200 {
            let value = round * 10;
            assert_eq!(client.reply(), Reply::Simple("OK".to_owned()));
            assert_eq!(client.reply(), Reply::Int(value + 1));
            assert_eq!(
                client.reply().text(),
                Some((value + 1).to_string().as_str())
            );
            assert_eq!(client.reply(), Reply::Int(value + 2));
        }
    });
}

#[test]
fn large_values_pass_in_both_directions() {
    on_each(|kind| {
        let engine = engine(kind);
        let server = before(&engine).start();
        let mut client = server.client();
        let large = vec![b'x'; 20_000_000];
        assert_eq!(
            client.call(&[b"SET".as_slice(), b"k", &large]),
            Reply::Simple("OK".to_owned())
        );
        assert_eq!(client.run("GET k"), Reply::Bulk(large));
    });
}

#[test]
fn multi_blocking_commands_and_channels_work() {
    on_each(|kind| {
        let engine = engine(kind);
        let server = before(&engine).start();
        let (mut client, mut other) = (server.client(), server.client());
        define(&mut client, "count", COUNT);
        client.run("MULTI");
        assert_eq!(client.run("SET k 5"), Reply::Simple("QUEUED".to_owned()));
        assert_eq!(other.run("GET k"), Reply::Null);
        let executed = client.run("EXEC");
        assert_eq!(executed.elements().map(<[_]>::len), Some(1));
        assert_eq!(other.run("GET k").text(), Some("5"));
        // A function cannot be a part of it, and so none of it happens.
        client.run("MULTI");
        client.run("SET k 6");
        let refused = client.run("WASM.CALL count KEYS k");
        assert!(
            refused
                .error()
                .is_some_and(|error| error.contains("inside MULTI")),
            "{refused:?}"
        );
        let aborted = client.run("EXEC");
        assert!(
            aborted
                .error()
                .is_some_and(|error| error.starts_with("EXECABORT")),
            "{aborted:?}"
        );
        assert_eq!(client.run("WASM.CALL count KEYS k"), Reply::Int(6));

        client.run("WATCH k");
        other.run("WASM.CALL count KEYS k");
        client.run("MULTI");
        client.run("SET k 0");
        assert_eq!(client.run("EXEC"), Reply::Null);

        client.send(&encode(&["BLPOP", "list", "0"]));
        other.run("RPUSH list a");
        let popped = client.reply();
        assert_eq!(
            popped.elements().map(|both| both[1].text()),
            Some(Some("a"))
        );

        client.run("SUBSCRIBE one two");
        client.reply();
        let call = client.run("WASM.CALL count KEYS k");
        assert!(
            call.error()
                .is_some_and(|error| error.contains("only (P|S)SUBSCRIBE")),
            "{call:?}"
        );
        assert_eq!(other.run("PUBLISH one hello"), Reply::Int(1));
        let message = client.reply();
        assert_eq!(
            message.elements().map(|parts| parts[2].text()),
            Some(Some("hello"))
        );
        client.run("UNSUBSCRIBE one two");
        client.reply();
        assert_eq!(client.run("WASM.CALL count KEYS k"), Reply::Int(8));
        assert_eq!(client.run("GET k").text(), Some("8"));
    });
}

#[test]
fn silenced_replies_stay_silent() {
    on_each(|kind| {
        let engine = engine(kind);
        let server = before(&engine).start();
        let mut client = server.client();
        define(&mut client, "count", COUNT);
        client.send(&encode(&["CLIENT", "REPLY", "OFF"]));
        client.send(&encode(&["SET", "k", "5"]));
        client.send(&encode(&["WASM.CALL", "count", "KEYS", "k"]));
        assert_eq!(
            client.run("CLIENT REPLY ON"),
            Reply::Simple("OK".to_owned())
        );
        client.send(&encode(&["CLIENT", "REPLY", "SKIP"]));
        client.send(&encode(&["WASM.CALL", "count", "KEYS", "k"]));
        assert_eq!(client.run("GET k").text(), Some("7"));
        assert_eq!(client.run("WASM.CALL count KEYS k"), Reply::Int(8));
    });
}

#[test]
fn a_call_has_the_rights_of_its_client() {
    on_each(|kind| {
        let engine = engine(kind);
        let mut direct = engine.client();
        direct.run("ACL SETUSER admin on >secret +@all ~* &*");
        direct.run("ACL SETUSER alice on >wonder ~alice:* ~ferrite:* +@all");
        direct.run("ACL SETUSER reader on >glasses ~* +@all -@write");
        direct.run("ACL SETUSER default off");
        let server = before(&engine).start();
        let mut client = server.client();
        let unknown = client.run("WASM.LIST");
        assert!(
            unknown
                .error()
                .is_some_and(|error| error.starts_with("NOAUTH")),
            "{unknown:?}"
        );
        let wrong = client.run("AUTH alice wrong");
        assert!(
            wrong
                .error()
                .is_some_and(|error| error.starts_with("WRONGPASS")),
            "{wrong:?}"
        );
        assert_eq!(
            client.run("AUTH admin secret"),
            Reply::Simple("OK".to_owned())
        );
        define(&mut client, "ops", OPS);
        assert_eq!(client.run("WASM.CALL ops.incr KEYS bob:n"), Reply::Int(3));

        assert_eq!(
            client.run("AUTH alice wonder"),
            Reply::Simple("OK".to_owned())
        );
        assert_eq!(client.run("WASM.CALL ops.incr KEYS alice:n"), Reply::Int(3));
        for key in ["bob:n", "other"] {
            for entry in ["get", "incr", "set", "del"] {
                let reply = client.run(&format!("WASM.CALL ops.{entry} KEYS {key} ARGS x"));
                let error = reply.error().unwrap_or_default();
                assert!(
                    error.starts_with("NOPERM"),
                    "{kind:?} {entry} {key}: {reply:?}"
                );
            }
        }
        let mut reader = server.client();
        reader.run("AUTH reader glasses");
        reader.hello3();
        let written = reader.run("WASM.CALL ops.incr KEYS bob:n");
        assert!(
            written
                .error()
                .is_some_and(|error| error.starts_with("NOPERM")),
            "{written:?}"
        );
        let mut admin: Client = engine.client();
        admin.run("AUTH admin secret");
        assert_eq!(admin.run("GET bob:n").text(), Some("3"));
        assert_eq!(admin.run("GET alice:n").text(), Some("3"));
    });
}

#[test]
fn a_shared_account_needs_no_authentication() {
    on_each(|kind| {
        let engine = kind
            .builder()
            .unmodified()
            .arguments(&["--requirepass", "p@ss:word"])
            .start();
        let url = format!("redis://:p%40ss%3Aword@{}", engine.address());
        let start = |more: &[&str]| {
            let builder = ferrite_tests::Server::builder().arguments(&["--upstream", &url]);
            builder.arguments(more).start()
        };
        let server = start(&["--upstream-share-account", "true"]);
        let mut client = server.client();
        assert_eq!(client.run("SET k 1"), Reply::Simple("OK".to_owned()));
        define(&mut client, "count", COUNT);
        assert_eq!(client.run("WASM.CALL count KEYS k"), Reply::Int(2));
        assert!(!server.log().contains("p@ss:word"));
        let server = start(&[]);
        let mut client = server.client();
        for line in ["GET k", "WASM.CALL count KEYS k", "WASM.HELP"] {
            let reply = client.run(line);
            assert!(
                reply
                    .error()
                    .is_some_and(|error| error.starts_with("NOAUTH")),
                "{line}: {reply:?}"
            );
        }
    });
}

#[test]
fn calls_work_in_the_selected_database() {
    on_each(|kind| {
        let engine = engine(kind);
        let server = before(&engine).start();
        let mut client = server.client();
        define(&mut client, "count", COUNT);
        client.run("SELECT 5");
        assert_eq!(client.run("WASM.CALL count KEYS k"), Reply::Int(1));
        client.run("SELECT 0");
        assert_eq!(client.run("EXISTS k"), Reply::Int(0));
        assert_eq!(client.run("WASM.CALL count KEYS k"), Reply::Int(1));
        client.run("SELECT 5");
        assert_eq!(client.run("GET k").text(), Some("1"));
    });
}

#[test]
fn calls_work_where_scripts_are_forbidden() {
    on_each(|kind| {
        let engine = engine(kind);
        let mut direct = engine.client();
        direct.run("ACL SETUSER plain on >pw ~* &* +@all -@scripting");
        let server = before(&engine).start();
        let mut client = server.client();
        define(&mut client, "ops", OPS);
        define(&mut client, "count", COUNT);
        client.run("AUTH plain pw");
        let refused = client.run("EVAL return{1} 0");
        assert!(
            refused
                .error()
                .is_some_and(|error| error.starts_with("NOPERM")),
            "{refused:?}"
        );
        for line in ["SET text v", "HSET hash f v", "RPUSH list a"] {
            client.run(line);
        }
        for (line, expected) in [
            ("WASM.CALL count KEYS n", Reply::Int(1)),
            ("WASM.CALL count KEYS n", Reply::Int(2)),
            ("WASM.CALL ops.get KEYS text", Reply::Bulk(b"v".to_vec())),
            (
                "WASM.CALL ops.hget KEYS hash ARGS f",
                Reply::Bulk(b"v".to_vec()),
            ),
            ("WASM.CALL ops.hset KEYS hash ARGS g w", Reply::Int(1)),
            ("WASM.CALL ops.get KEYS list", Reply::Int(-18)),
            ("WASM.CALL ops.del KEYS list", Reply::Int(1)),
            ("EXISTS list", Reply::Int(0)),
            ("HGET hash g", Reply::Bulk(b"w".to_vec())),
        ] {
            assert_eq!(client.run(line), expected, "{kind:?}: {line}");
        }
        // Others get ahead of it, and nothing is lost.
        let calls = 200;
        std::thread::scope(|scope| {
            for caller in 0..4 {
                let server = &server;
                scope.spawn(move || {
                    let mut client = server.client();
                    if caller > 0 {
                        client.run("AUTH plain pw");
                    }
                    for _ in 0..calls {
                        assert!(client.run("WASM.CALL count KEYS shared").int().is_some());
                    }
                });
            }
        });
        let total = (4 * calls).to_string();
        assert_eq!(direct.run("GET shared").text(), Some(total.as_str()));
    });
}

#[test]
fn without_the_right_to_marks_calls_still_work() {
    on_each(|kind| {
        let engine = engine(kind);
        let mut direct = engine.client();
        direct.run("ACL SETUSER plain on >pw ~mine +@all");
        let server = before(&engine).start();
        let mut client = server.client();
        define(&mut client, "count", COUNT);
        client.run("AUTH plain pw");
        for expected in 1..4 {
            assert_eq!(
                client.run("WASM.CALL count KEYS mine"),
                Reply::Int(expected)
            );
        }
        // A part of the commands of a commit is not enough, and leaves nothing.
        direct.run("ACL SETUSER half on >pw ~* +@all -set");
        client.run("AUTH half pw");
        let refused = client.run("WASM.CALL count KEYS mine");
        assert!(
            refused
                .error()
                .is_some_and(|error| error.starts_with("NOPERM")),
            "{refused:?}"
        );
        assert_eq!(direct.run("GET mine").text(), Some("3"));
    });
}
