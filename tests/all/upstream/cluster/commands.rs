//! Commands that are no calls, passed on to the nodes of their keys.

use ferrite_tests::{Client, Reply, Server, encode};

use super::{COUNT, before, define, nodes, on_each};
use crate::engines::until;

fn ok() -> Reply {
    Reply::Simple("OK".to_owned())
}

#[test]
fn other_commands_find_the_node_of_their_key() {
    on_each(|kind| {
        let nodes = nodes(kind, false);
        let server = before(&nodes).start();
        let mut client = server.client();
        define(&mut client, "count", COUNT);
        // A pipeline over all nodes, with calls in between, is answered in order.
        let mut requests = Vec::new();
        for key in 0..100 {
            let name = format!("key:{key}");
            requests.extend(encode(&["SET", &name, &key.to_string()]));
            requests.extend(encode(&["GET", &name]));
            requests.extend(encode(&["WASM.CALL", "count", "KEYS", &name]));
        }
        client.send(&requests);
        for key in 0..100 {
            assert_eq!(client.reply(), ok());
            assert_eq!(client.reply().text(), Some(key.to_string().as_str()));
            assert_eq!(client.reply(), Reply::Int(key + 1));
        }
        assert_eq!(
            client.run("DBSIZE").int().map(|size| size >= 100),
            Some(true)
        );
        let keys = client.run("KEYS key:*");
        assert_eq!(keys.elements().map(<[_]>::len), Some(100));
        // So does a scan, step by step.
        let (mut cursor, mut found) = ("0".to_owned(), Vec::new());
        loop {
            let reply = client.run(&format!("SCAN {cursor} MATCH key:* COUNT 7"));
            let parts = reply.elements().expect("a cursor and keys");
            cursor = parts[0].text().expect("a cursor").to_owned();
            let keys = parts[1].elements().expect("keys").iter();
            found.extend(keys.map(|key| key.text().expect("a key").to_owned()));
            if cursor == "0" {
                break;
            }
        }
        found.sort_unstable();
        found.dedup();
        assert_eq!(found.len(), 100);
        for line in [
            "SCAN x",
            "SCAN 16000",
            "CLUSTER SLOTS",
            "CLIENT TRACKING ON",
            "CLIENT REPLY OFF",
        ] {
            assert!(client.run(line).error().is_some(), "{line}");
        }
        let crossed = client.run("MGET a b");
        assert!(
            crossed
                .error()
                .is_some_and(|error| error.starts_with("CROSSSLOT"))
        );
        // A script that is loaded is everywhere.
        let loaded = client.call(&["SCRIPT", "LOAD", "return redis.call('GET', KEYS[1])"]);
        let digest = loaded.text().expect("a digest").to_owned();
        for key in 0..10 {
            let reply = client.run(&format!("EVALSHA {digest} 1 key:{key}"));
            assert_eq!(reply.text(), Some((key + 1).to_string().as_str()));
        }
        for client in [&mut client, &mut server.client()] {
            client.hello3();
            client.run("HSET hash f v");
            assert!(matches!(client.run("HGETALL hash"), Reply::Map(_)));
            assert!(matches!(client.run("HGETALL another"), Reply::Map(_)));
        }
        let mut client = server.client();
        assert_eq!(client.run("FLUSHALL"), ok());
        assert_eq!(client.run("EXISTS key:1"), Reply::Int(0));
        assert_eq!(client.run("EXISTS key:2"), Reply::Int(0));
        assert_eq!(client.run("QUIT"), ok());
        assert_eq!(client.next(), None);
    });
}

#[test]
fn transactions_blocking_commands_and_channels_work() {
    on_each(|kind| {
        let nodes = nodes(kind, false);
        let server = before(&nodes).start();
        let (mut client, mut other) = (server.client(), server.client());
        define(&mut client, "count", COUNT);
        for key in ["a", "b", "c"] {
            let mut requests = encode(&["MULTI"]);
            requests.extend(encode(&["SET", key, "5"]));
            requests.extend(encode(&["INCR", key]));
            requests.extend(encode(&["EXEC"]));
            requests.extend(encode(&["GET", "other"]));
            client.send(&requests);
            assert_eq!(client.reply(), ok());
            assert_eq!(client.reply(), Reply::Simple("QUEUED".to_owned()));
            assert_eq!(client.reply(), Reply::Simple("QUEUED".to_owned()));
            assert_eq!(
                client.reply(),
                Reply::Array(vec![ok(), Reply::Int(6)]),
                "{kind:?}"
            );
            assert_eq!(client.reply(), Reply::Null);
            // It changes while it is watched.
            assert_eq!(client.run(&format!("WATCH {key}")), ok());
            assert_eq!(client.run("GET other"), Reply::Null);
            other.run(&format!("WASM.CALL count KEYS {key}"));
            client.run("MULTI");
            client.run(&format!("SET {key} 0"));
            assert_eq!(client.run("EXEC"), Reply::Null, "{kind:?}");
            assert_eq!(client.run(&format!("GET {key}")).text(), Some("7"));
        }
        // Keys of several nodes are none for one transaction.
        let refused = |reply: &Reply, code: &str| {
            assert!(
                reply.error().is_some_and(|error| error.starts_with(code)),
                "{reply:?}"
            );
        };
        client.run("MULTI");
        client.run("SET a 1");
        refused(&client.run("SET b 1"), "CROSSSLOT");
        refused(&client.run("EXEC"), "EXECABORT");
        assert_eq!(client.run("WATCH a"), ok());
        refused(&client.run("WATCH b"), "CROSSSLOT");
        assert_eq!(client.run("UNWATCH"), ok());
        client.run("MULTI");
        client.run("SET a 1");
        refused(&client.run("WASM.CALL count KEYS a"), "ERR");
        refused(&client.run("EXEC"), "EXECABORT");
        client.run("MULTI");
        assert_eq!(client.run("DISCARD"), ok());
        assert_eq!(client.run("GET a").text(), Some("7"));

        for key in ["x", "y", "z"] {
            client.send(&encode(&["BLPOP", key, "0"]));
            other.run(&format!("RPUSH {key} v"));
            let popped = client.reply();
            assert_eq!(
                popped.elements().map(|both| both[1].text()),
                Some(Some("v"))
            );
        }
        client.run("SUBSCRIBE one");
        let publish = ["PUBLISH", "one", "hello"];
        other.call(&publish);
        let message = client.reply();
        assert_eq!(
            message.elements().map(|parts| parts[2].text()),
            Some(Some("hello"))
        );
        client.run("UNSUBSCRIBE one");
        assert_eq!(client.run("GET b").text(), Some("7"));
        // In RESP3, messages come between the replies of any node.
        client.hello3();
        client.send(&encode(&["SUBSCRIBE", "one"]));
        let confirmed = client.reply();
        assert!(matches!(confirmed, Reply::Push(_)), "{confirmed:?}");
        other.call(&publish);
        let mut pushes = 0;
        let mut receive = |client: &mut Client, line: &str| {
            client.send(&encode(&line.split(' ').collect::<Vec<_>>()));
            loop {
                match client.reply() {
                    Reply::Push(_) => pushes += 1,
                    reply => return reply,
                }
            }
        };
        for key in ["a", "b", "c"].iter().cycle().take(30) {
            let reply = receive(&mut client, &format!("GET {key}"));
            assert_eq!(reply.text(), Some("7"));
        }
        while pushes == 0 {
            let _ = client.reply();
            pushes += 1;
        }
        assert_eq!(pushes, 1);
        // However long the names are of what is listened to, nothing of them is kept.
        for number in 0..4 {
            let long = format!("{number}").repeat(700_000);
            client.send(&encode(&["SUBSCRIBE", &long]));
            let confirmed = client.reply();
            assert!(matches!(confirmed, Reply::Push(_)));
            assert_eq!(client.run("GET a").text(), Some("7"));
        }
    });
}

#[test]
fn clients_are_known_on_every_node() {
    on_each(|kind| {
        let nodes = nodes(kind, false);
        for node in &nodes {
            let mut direct = node.client();
            direct.run("ACL SETUSER alice on >wonder ~* &* +@all");
            direct.run("ACL SETUSER reader on >glasses ~* &* +@all -@write");
            direct.run("CONFIG SET requirepass secret");
        }
        let server = before(&nodes).start();
        let mut client = server.client();
        for line in ["GET a", "WASM.CALL count KEYS a", "DBSIZE", "SCAN 0"] {
            let reply = client.run(line);
            let error = reply.error().unwrap_or_default();
            assert!(error.starts_with("NOAUTH"), "{kind:?}: {line}: {reply:?}");
        }
        assert_eq!(client.run("AUTH alice wonder"), ok());
        define(&mut client, "count", COUNT);
        let works = |client: &mut Client| {
            for key in ["a", "b", "c"] {
                assert_eq!(client.run(&format!("SET {key} 1")), ok());
                let call = format!("WASM.CALL count KEYS {key}");
                assert_eq!(client.run(&call), Reply::Int(2), "{kind:?}");
                assert_eq!(client.run(&format!("GET {key}")).text(), Some("2"));
            }
        };
        works(&mut client);
        // Another user has its own rights on all of them at once.
        assert_eq!(client.run("AUTH reader glasses"), ok());
        for key in ["a", "b", "c"] {
            assert_eq!(client.run(&format!("GET {key}")).text(), Some("2"));
            for line in [
                format!("SET {key} 3"),
                format!("WASM.CALL count KEYS {key}"),
            ] {
                let reply = client.run(&line);
                let error = reply.error().unwrap_or_default();
                assert!(error.starts_with("NOPERM"), "{kind:?}: {line}: {reply:?}");
            }
        }
        assert_eq!(client.run("RESET"), Reply::Simple("RESET".to_owned()));
        let reply = client.run("GET b");
        assert!(
            reply
                .error()
                .is_some_and(|error| error.starts_with("NOAUTH"))
        );

        let url = format!("redis+cluster://:secret@{}", nodes[0].address());
        let server = Server::builder()
            .arguments(&["--upstream", &url, "--upstream-share-account", "true"])
            .start();
        let mut client = server.client();
        until(&mut client, &["WASM.CALL", "count", "KEYS", "x"], |reply| {
            reply.int().is_some()
        });
        works(&mut client);
        assert_eq!(client.run("DBSIZE").error(), None);
    });
}
