//! Requests that are sent after their call has committed, by servers in front of an engine that keeps them.

use std::sync::{Arc, Mutex};
use std::thread;

use ferrite_tests::{Client, Engine, EngineKind, Reply, Server, ServerBuilder, command};
use rustix::process::Signal;

use super::engines_outbox::arrived;
use super::hello;
use super::outbox::{OUTBOX, add, define, field, given_up, info, post, wait_for};
use super::peer::Peer;
use super::receiver::{ReceivingServer, free_port, url};
use crate::engines::until;

pub(super) const OPEN: &str = "[wasm.security]\nallow_network = [\"http://127.0.0.1:*\"]\nallow_private_network = [\"127.0.0.1\"]\n";

/// Prepares a server at this URL whose functions may reach the loopback.
pub(super) fn at(url: &str, config: &str) -> ServerBuilder {
    let builder = Server::builder().config(&format!("{OPEN}{config}"));
    builder.arguments(&["--upstream", url])
}

fn before(engine: &Engine, config: &str) -> Server {
    at(&format!("redis://{}", engine.address()), config).start()
}

fn engine(kind: EngineKind) -> Engine {
    kind.builder().unmodified().start()
}

/// Polls until a server knows the function that another one has loaded.
pub(super) fn knows(client: &mut Client, function: &str) {
    until(client, &["WASM.INFO", function], |reply| {
        reply.error().is_none()
    });
}

/// Polls until servers together have sent this number of requests.
fn sent_by(clients: &mut [&mut Client], count: i64) {
    while clients
        .iter_mut()
        .map(|client| info(client, "sent"))
        .sum::<i64>()
        != count
    {
        thread::yield_now();
    }
}

#[test]
fn a_request_is_sent_after_its_call_and_only_then() {
    for kind in EngineKind::unmodified_here() {
        let receiver = ReceivingServer::start();
        let engine = engine(kind);
        let server = before(&engine, "");
        let (mut client, mut direct) = (server.client(), engine.client());
        let target = receiver.url("/orders?secret=1");
        define(&mut client, &format!("POST {}", receiver.url("/*")));
        let key = add(&mut client, &target, "tea");
        let told = receiver.next();
        assert_eq!((told.key, &*told.body), (key, "tea"), "{kind:?}");
        wait_for(&mut client, "sent", 1);
        wait_for(&mut client, "pending", 0);
        assert_eq!(direct.run("EXISTS ferrite:requests"), Reply::Int(0));
        let stats = client.run("WASM.STATS");
        assert_eq!(stats.at("outbox_sent").and_then(Reply::int), Some(1));

        let request = post(&target, "never");
        let trap = client.call(&["WASM.CALL", "f.fail", "ARGS", &request]);
        assert!(
            trap.error().is_some_and(|it| it.starts_with("TRAP")),
            "{trap:?}"
        );
        let profile = client.call(&["WASM.PROFILE", "f", "ARGS", &request]);
        assert!(format!("{profile:?}").contains("after_commit"));
        let read_only = client.call(&["WASM.CALL_RO", "f.only", "ARGS", &request]);
        let text = read_only.text().expect("an error in a text");
        assert!(text.starts_with("-UNAVAILABLE no requests"), "{text}");
        // One that touches no data, and one of another database.
        client.call(&["WASM.CALL", "f.only", "ARGS", &post(&target, "one")]);
        assert_eq!(receiver.next().body, "one", "{kind:?}");
        client.run("SELECT 3");
        add(&mut client, &target, "two");
        assert_eq!(receiver.next().body, "two", "{kind:?}");
        assert_eq!(client.run("GET n").text(), Some("1"), "{kind:?}");
        assert_eq!(client.run("EXISTS ferrite:requests"), Reply::Int(0));
        wait_for(&mut client, "pending", 0);
        assert_eq!(info(&mut client, "queued"), 3);
        assert_eq!(receiver.arrived.try_iter().count(), 0);
    }
}

#[test]
fn a_request_is_given_up_shown_and_sent_again_by_any_server() {
    for kind in EngineKind::unmodified_here() {
        let receiver = ReceivingServer::start();
        let engine = engine(kind);
        let config = "[wasm.network]\noutbox_tries = 2\n";
        let servers = [before(&engine, config), before(&engine, config)];
        let [mut client, mut other] = [servers[0].client(), servers[1].client()];
        define(&mut client, &receiver.url("/*"));
        receiver.answer(&[503, 404]);
        let key = add(&mut client, &receiver.url("/b?secret"), "");
        for client in [&mut client, &mut other] {
            wait_for(client, "dead", 1);
            let dead = given_up(client);
            for (name, value) in [
                ("function", "f"),
                ("url", &receiver.url("/b")),
                ("idempotency_key", &key),
                ("tries", "2"),
                ("error", "HTTP 404"),
            ] {
                assert_eq!(field(&dead[0], name), value, "{name}");
            }
        }
        receiver.arrived.try_iter().for_each(drop);
        let unknown = other.run("WASM.OUTBOX RETRY 12345");
        let error = unknown.error().expect("an error");
        assert!(error.contains("no request \"12345\" was given up"));
        // Of two that send it again, one does.
        let id = field(&given_up(&mut other)[0], "id");
        let words = ["WASM.OUTBOX", "RETRY", &id];
        let retry = |client: &mut Client| client.call(&words).int().unwrap_or(0);
        let retried: i64 = thread::scope(|scope| {
            let first = scope.spawn(|| retry(&mut client));
            let second = retry(&mut other);
            first.join().expect("no panic") + second
        });
        assert_eq!(retried, 1, "{kind:?}");
        assert_eq!(receiver.next().key, key);
        sent_by(&mut [&mut client, &mut other], 1);
        wait_for(&mut client, "pending", 0);
        wait_for(&mut other, "pending", 0);
        assert_eq!(receiver.arrived.try_iter().count(), 0, "{kind:?}");

        receiver.answer(&[500, 500]);
        add(&mut client, &receiver.url("/c"), "");
        wait_for(&mut other, "dead", 1);
        assert_eq!(other.run("WASM.OUTBOX DEL ALL"), Reply::Int(1));
        wait_for(&mut client, "dead", 0);
        let left = engine.client().run("EXISTS ferrite:requests:dead");
        assert_eq!(left, Reply::Int(0));
    }
}

#[test]
fn a_call_waits_for_a_response_and_asks_once() {
    for kind in EngineKind::unmodified_here() {
        let engine = engine(kind);
        let server = before(&engine, "");
        let mut client = server.client();
        let direct = Arc::new(Mutex::new(engine.client()));
        // Each response comes after the key has changed, so that the first commit is refused.
        let peer = Peer::start_with(move || {
            let mut direct = direct.lock().expect("no panic");
            assert!(direct.run("INCRBY n 100").int().is_some());
        });
        super::define(&mut client, &peer);
        let url = peer.url("/a");
        assert_eq!(super::call(&mut client, &url), hello(&url), "{kind:?}");
        assert_eq!(client.run("GET n").text(), Some("101"), "{kind:?}");
        let sent: Vec<String> = peer.requests.try_iter().collect();
        assert_eq!(
            sent,
            ["/a"],
            "{kind:?}: a try without the data sends nothing"
        );
        // A function that only reads may ask, too, but add nothing to a commit.
        let read_only = client.call(&["WASM.CALL_RO", "f", "ARGS", &super::request(&url)]);
        assert_eq!(read_only, hello(&url), "{kind:?}");
        assert_eq!(peer.count(), 1, "{kind:?}");
        assert_eq!(client.run("GET n").text(), Some("201"), "{kind:?}");

        // It ends with its time while it waits, and leaves nothing.
        let silent = super::request(&peer.url("/silent"));
        let timeout = client.call(&["WASM.CALL", "f", "TIMEOUT", "500", "ARGS", &silent]);
        let text = timeout.error().expect("an error");
        assert!(text.starts_with("TIMEOUT"), "{text}");
        let n: Option<i64> = client.run("GET n").text().and_then(|n| n.parse().ok());
        assert!(n == Some(201) || n == Some(301), "{kind:?}: {n:?}");
    }
}

#[test]
fn requests_that_wait_are_bounded_for_all_servers() {
    for kind in EngineKind::unmodified_here() {
        let engine = engine(kind);
        let config = "[wasm.network]\nmax_outbox = 1\n";
        let servers = [before(&engine, config), before(&engine, config)];
        let [mut client, mut other] = [servers[0].client(), servers[1].client()];
        // Nobody listens there, so it waits, and no server has room for another.
        let target = url(free_port(), "/");
        define(&mut client, "http://127.0.0.1:*");
        knows(&mut other, "f");
        add(&mut client, &target, "");
        for client in [&mut client, &mut other] {
            wait_for(client, "pending", 1);
            let reply = client.call(&["WASM.CALL", "f", "ARGS", &post(&target, "")]);
            let text = reply.text().expect("an error in a text");
            assert!(
                text.starts_with("-LIMIT 1 requests wait in the outbox, the limit is 1"),
                "{text}"
            );
        }
        client.run("WASM.UNLOAD f");
        for client in [&mut client, &mut other] {
            wait_for(client, "dead", 1);
            let error = field(&given_up(client)[0], "error");
            assert!(error.starts_with("NOFUNC "), "{error}");
        }
    }
}

#[test]
fn another_server_sends_after_a_kill() {
    for kind in EngineKind::unmodified_here() {
        let engine = engine(kind);
        let first = before(&engine, "");
        let mut client = first.client();
        define(&mut client, "http://127.0.0.1:*");
        // Nobody listens there yet.
        let port = free_port();
        let mut keys: Vec<_> = (0..20)
            .map(|number| add(&mut client, &url(port, "/"), &number.to_string()))
            .collect();
        keys.sort();
        let second = before(&engine, "");
        let mut other = second.client();
        wait_for(&mut other, "pending", 20);
        first.signal(Signal::KILL);
        let receiver = ReceivingServer::start_at(port);
        wait_for(&mut other, "sent", 20);
        wait_for(&mut other, "pending", 0);
        assert_eq!(arrived(&receiver), keys, "{kind:?}");

        // A kill while the answer is awaited: it arrives again, with the same key.
        let key = add(&mut other, &receiver.url("/held"), "");
        assert_eq!(receiver.next().key, key);
        second.signal(Signal::KILL);
        let third = before(&engine, "");
        receiver.release.send(()).expect("it listens");
        receiver.release.send(()).expect("it listens");
        assert_eq!(receiver.next().key, key);
        let mut third = third.client();
        wait_for(&mut third, "sent", 1);
        wait_for(&mut third, "pending", 0);
        assert_eq!(third.run("GET n").text(), Some("21"), "{kind:?}");
    }
}

#[test]
fn of_two_servers_whose_calls_conflict_one_sends_each_request_once() {
    const EACH: usize = 100;
    for kind in EngineKind::unmodified_here() {
        let receiver = ReceivingServer::start();
        let engine = engine(kind);
        let servers = [before(&engine, ""), before(&engine, "")];
        define(&mut servers[0].client(), &receiver.url("/*"));
        knows(&mut servers[1].client(), "f");
        let mut keys: Vec<String> = thread::scope(|scope| {
            let callers: Vec<_> = servers
                .iter()
                .map(|server| {
                    let (mut client, target) = (server.client(), receiver.url("/"));
                    scope.spawn(move || {
                        let add = |number: usize| add(&mut client, &target, &number.to_string());
                        (0..EACH).map(add).collect::<Vec<_>>()
                    })
                })
                .collect();
            let keys = callers.into_iter();
            keys.flat_map(|one| one.join().expect("no panic")).collect()
        });
        keys.sort();
        let (mut one, mut two) = (servers[0].client(), servers[1].client());
        let total = i64::try_from(2 * EACH).expect("a few");
        sent_by(&mut [&mut one, &mut two], total);
        for client in [&mut one, &mut two] {
            wait_for(client, "pending", 0);
            assert_eq!(info(client, "queued"), total / 2);
        }
        assert_eq!(arrived(&receiver), keys, "{kind:?}");
        // All of them have counted at one key, and calls that met a conflict have added theirs once.
        assert_eq!(one.run("GET n"), Reply::Bulk(total.to_string().into()));
        let retries = [&mut one, &mut two].map(|client| {
            let retries = client.run("WASM.INFO f").at("retries").and_then(Reply::int);
            retries.expect("a number")
        });
        assert_ne!(retries, [0, 0], "{kind:?}");
    }
}

#[test]
fn requests_survive_a_kill_of_the_engine() {
    for kind in EngineKind::unmodified_here() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let durable = || {
            let builder = kind.builder().unmodified().dir(dir.path());
            builder.arguments(&["--appendonly", "yes", "--appendfsync", "always"])
        };
        let mut engine = durable().start();
        let address = engine.port();
        let server = before(&engine, "");
        let mut client = server.client();
        define(&mut client, "http://127.0.0.1:*");
        let port = free_port();
        let mut keys: Vec<_> = (0..10)
            .map(|number| add(&mut client, &url(port, "/"), &number.to_string()))
            .collect();
        keys.sort();
        engine.kill();
        let _engine = durable().port(address).start();
        let receiver = ReceivingServer::start_at(port);
        let mut client = server.client();
        wait_for(&mut client, "pending", 0);
        let mut arrived = arrived(&receiver);
        arrived.dedup();
        assert_eq!(arrived, keys, "{kind:?}");
    }
}

#[test]
fn it_works_where_scripts_are_forbidden() {
    for kind in EngineKind::unmodified_here() {
        let receiver = ReceivingServer::start();
        let engine = engine(kind);
        let rule = "ACL SETUSER plain on >pw ~* &* +@all -@scripting";
        assert!(engine.client().run(rule).error().is_none());
        let upstream = format!("redis://plain:pw@{}", engine.address());
        let config = "[wasm.network]\noutbox_tries = 2\n[upstream]\nshare_account = true\n";
        let server = at(&upstream, config).start();
        let mut client = server.client();
        define(&mut client, &receiver.url("/*"));
        receiver.answer(&[500]);
        let key = add(&mut client, &receiver.url("/"), "");
        let keys = [receiver.next().key, receiver.next().key];
        assert_eq!(keys, [key.clone(), key], "{kind:?}");
        client.run("SELECT 2");
        receiver.answer(&[500, 500]);
        let key = add(&mut client, &receiver.url("/"), "");
        wait_for(&mut client, "dead", 1);
        receiver.arrived.try_iter().for_each(drop);
        assert_eq!(client.run("WASM.OUTBOX RETRY ALL"), Reply::Int(1));
        assert_eq!(receiver.next().key, key);
        wait_for(&mut client, "sent", 2);
        wait_for(&mut client, "pending", 0);
        assert_eq!(client.run("GET n").text(), Some("1"), "{kind:?}");

        // A key of another type takes no request, so the call writes nothing.
        engine.client().run("SET ferrite:requests x");
        let request = post(&receiver.url("/"), "");
        let reply = client.call(&["WASM.CALL", "f", "ARGS", &request]);
        let error = reply.error().unwrap_or_default();
        assert!(error.starts_with("WRONGTYPE"), "{reply:?}");
        assert_eq!(client.run("GET n").text(), Some("1"), "{kind:?}");
    }
}

#[test]
fn a_user_without_the_right_adds_no_request() {
    for kind in EngineKind::unmodified_here() {
        let receiver = ReceivingServer::start();
        let engine = engine(kind);
        let server = before(&engine, "");
        define(&mut server.client(), &receiver.url("/*"));
        let rule = "ACL SETUSER few on >pw ~n ~ferrite:commits:* ~ferrite:leases* &* +@all";
        assert!(engine.client().run(rule).error().is_none());
        let mut client = server.client();
        assert_eq!(client.run("AUTH few pw"), Reply::Simple("OK".into()));
        let request = post(&receiver.url("/"), "");
        let reply = client.call(&["WASM.CALL", "f", "ARGS", &request]);
        let error = reply.error().unwrap_or_default();
        assert!(
            error.starts_with("NOPERM") && error.contains("ferrite:requests*"),
            "{kind:?}: {reply:?}"
        );
        assert_eq!(client.run("EXISTS n"), Reply::Int(0));
        for line in ["WASM.OUTBOX LIST", "WASM.OUTBOX RETRY ALL"] {
            let reply = client.run(line);
            let error = reply.error().unwrap_or_default();
            assert!(error.contains("NOPERM"), "{line}: {reply:?}");
        }
        engine.client().run("ACL SETUSER few ~ferrite:requests*");
        let key = add(&mut client, &receiver.url("/"), "");
        assert_eq!(receiver.next().key, key, "{kind:?}");
    }
}

#[test]
fn a_server_that_may_not_send_says_so_and_another_sends() {
    for kind in EngineKind::unmodified_here() {
        let receiver = ReceivingServer::start();
        let engine = engine(kind);
        let rule = "ACL SETUSER reader on >pw ~ferrite:{functions}* &* +@all";
        assert!(engine.client().run(rule).error().is_none());
        let upstream = format!("redis://reader:pw@{}", engine.address());
        let server = at(&upstream, "").start();
        let mut client = server.client();
        until(&mut client, &["WASM.OUTBOX", "INFO"], |info| {
            let error = info.at("last_error").and_then(Reply::text);
            error.is_some_and(|error| error.contains("NOPERM"))
        });
        define(&mut client, &receiver.url("/*"));
        let key = add(&mut client, &receiver.url("/"), "");
        let _other = before(&engine, "");
        assert_eq!(receiver.next().key, key, "{kind:?}");
    }
}

#[test]
fn the_command_line_sends_what_its_call_has_committed() {
    for kind in EngineKind::unmodified_here() {
        let receiver = ReceivingServer::start();
        let engine = engine(kind);
        let folder = tempfile::tempdir().expect("a temporary folder");
        let module = folder.path().join("f.wat");
        std::fs::write(&module, OUTBOX).expect("written");
        let rule = receiver.url("/*");
        let permissions = format!(r#"{{"allow_write": true, "allow_network": ["{rule}"]}}"#);
        let run = |entry: &str, more: &[&str]| {
            let mut run = command("ferrite-wasmc", "FERRITE_WASMC_BIN");
            run.arg("run")
                .arg(format!("{}{entry}", module.display()))
                .args(["--upstream", &format!("redis://{}", engine.address())])
                .args(["--arg", &post(&receiver.url("/"), "tea")])
                .args(["--permissions", &permissions, "--allow-network"])
                .args(["--allow-private-network", "127.0.0.1"])
                .args(more)
                .env("FERRITE_CACHE_DIR", folder.path().join("cache"));
            let output = run.output().expect("it runs");
            (
                output.status.success(),
                String::from_utf8_lossy(&output.stdout).into_owned(),
            )
        };
        let (succeeded, text) = run("", &[]);
        let arrived = receiver.next();
        assert!(succeeded && text.contains(&arrived.key), "{kind:?}: {text}");
        assert_eq!(arrived.body, "tea");
        let (succeeded, text) = run(":only", &[]);
        assert!(succeeded && text.contains(&receiver.next().key), "{text}");
        assert!(run("", &["--profile"]).0);
        assert!(!run(":fail", &[]).0);
        assert_eq!(receiver.arrived.try_iter().count(), 0, "{kind:?}");
        let mut direct = engine.client();
        assert_eq!(direct.run("GET n").text(), Some("1"), "{kind:?}");
        assert_eq!(direct.run("EXISTS ferrite:requests"), Reply::Int(0));
    }
}
