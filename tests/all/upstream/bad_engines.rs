//! Engines that are down, refuse, talk nonsense, or go away.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

use ferrite_protocol::resp::{RequestBounds, RequestScanner, Scan};
use ferrite_tests::{EngineKind, Reply, Server};

use super::{COUNT, before, define, engine, on_each};

/// Something at a port that is no engine: what it does with each connection.
pub(super) fn pretend(serve: impl Fn(TcpStream) + Send + Clone + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("it listens");
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let serve = serve.clone();
            thread::spawn(move || serve(stream));
        }
    });
    address
}

/// Something at a port that answers each request once, however its bytes arrive. `answer` gets its own port and
/// the request's words. After a request that it does not answer, it says nothing more on that connection, so that
/// no later answer is taken for that one's.
pub(super) fn answering(
    answer: impl Fn(u16, &[&[u8]]) -> Vec<u8> + Send + Clone + 'static,
) -> SocketAddr {
    pretend(move |mut stream| {
        let port = stream.local_addr().expect("it is connected").port();
        let mut scanner = RequestScanner::new(RequestBounds::default());
        let (mut waiting, mut chunk) = (Vec::new(), [0; 65536]);
        let mut answers = true;
        while let Ok(read) = stream.read(&mut chunk) {
            if read == 0 {
                break;
            }
            waiting.extend_from_slice(&chunk[..read]);
            while let Ok(Scan::Complete { consumed }) = scanner.scan(&waiting) {
                let words: Vec<&[u8]> = scanner.arguments(&waiting).collect();
                let reply = answer(port, &words);
                waiting.drain(..consumed);
                answers &= !reply.is_empty();
                if answers && stream.write_all(&reply).is_err() {
                    return;
                }
            }
        }
    })
}

fn before_address(address: SocketAddr, more: &[&str]) -> Server {
    let url = format!("redis://{address}");
    Server::builder()
        .arguments(&["--upstream", &url])
        .arguments(more)
        .start()
}

#[test]
fn an_engine_that_is_down_is_said_to_be() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("it listens");
    drop(listener);
    let server = before_address(address, &[]);
    let mut client = server.client();
    for line in ["GET k", "WASM.CALL count KEYS k", "WASM.LIST"] {
        let reply = client.run(line);
        let error = reply.error().unwrap_or_default();
        assert!(
            error.starts_with("STORE")
                && error.contains("cannot be reached")
                && error.contains(&address.to_string()),
            "{line}: {reply:?}"
        );
    }
}

#[test]
fn an_engine_that_comes_back_is_used_again() {
    on_each(|kind| {
        let mut first = engine(kind);
        let (address, port) = (first.address(), first.port());
        let server = before(&first).start();
        let mut client = server.client();
        define(&mut client, "count", COUNT);
        assert_eq!(client.run("WASM.CALL count KEYS k"), Reply::Int(1));
        first.kill();
        client.send(&ferrite_tests::encode(&["GET", "k"]));
        assert_eq!(client.next(), None, "its session at the engine is gone");
        let mut client = server.client();
        let reply = client.run("WASM.CALL count KEYS k");
        assert!(
            reply
                .error()
                .is_some_and(|error| error.contains(&address.to_string())),
            "{reply:?}"
        );
        let second = kind.builder().unmodified().port(port).start();
        let mut client = server.client();
        // The pause after the last attempt to connect may not be over yet.
        let reply = super::super::engines::until(
            &mut client,
            &["WASM.CALL", "count", "KEYS", "k"],
            |reply| reply.int().is_some(),
        );
        assert_eq!(reply, Reply::Int(1));
        drop(second);
    });
}

#[test]
fn nonsense_ends_the_connection() {
    for nonsense in [
        &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..],
        b"$5\r\nab",
        b"*2\r\n:1\r\n%%%\r\n",
    ] {
        let address = pretend(move |mut stream| {
            let mut request = [0; 1024];
            while stream.read(&mut request).is_ok_and(|read| read > 0) {
                if stream.write_all(nonsense).is_err() {
                    break;
                }
                // It closes in the middle of a reply.
                if nonsense.starts_with(b"$") {
                    break;
                }
            }
        });
        let server = before_address(address, &[]);
        let mut client = server.client();
        client.send(&ferrite_tests::encode(&["GET", "k"]));
        client.finish();
        while let Some(reply) = client.next() {
            assert!(!matches!(reply, Reply::Bulk(_)), "{reply:?}");
        }
        // The server goes on: it takes another connection.
        drop(server.client());
    }
}

#[test]
fn an_engine_that_does_not_answer_ends_the_call_in_time() {
    // It answers everything but scripts.
    let address = answering(|_, words| match words[0].starts_with(b"EVAL") {
        true => Vec::new(),
        false => b"+PONG\r\n".to_vec(),
    });
    let server = before_address(address, &["--upstream-answer-timeout", "200ms"]);
    let mut client = server.client();
    define(&mut client, "count", COUNT);
    let reply = client.run("WASM.CALL count KEYS k");
    let error = reply.error().unwrap_or_default();
    assert!(error.contains("nothing within 200 ms"), "{reply:?}");
    let reply = client.run("WASM.CALL count TIMEOUT 50 KEYS k");
    assert!(
        reply
            .error()
            .is_some_and(|error| error.starts_with("TIMEOUT")),
        "{reply:?}"
    );
    assert_eq!(client.run("PING"), Reply::Simple("PONG".to_owned()));
}

#[test]
fn the_connection_of_kept_values_opens_within_the_time_of_the_call() {
    let address = answering(|_, words| match words[0] {
        b"HELLO" => Vec::new(),
        _ => b"+PONG\r\n".to_vec(),
    });
    let server = before_address(address, &["--upstream-max-kept", "1MB"]);
    let mut client = server.client();
    define(&mut client, "count", COUNT);
    let reply = client.run("WASM.CALL count TIMEOUT 50 KEYS k");
    let error = reply.error().unwrap_or_default();
    assert!(error.starts_with("TIMEOUT"), "{reply:?}");
}

#[test]
fn what_the_engine_refuses_is_refused_as_a_whole() {
    on_each(|kind| {
        let engine = engine(kind);
        let server = before(&engine).start();
        let mut client = server.client();
        define(&mut client, "count", COUNT);
        client.run("SET k 1");
        client.run("CONFIG SET maxmemory 1");
        let reply = client.run("WASM.CALL count KEYS k");
        assert!(
            reply.error().is_some_and(|error| error.starts_with("OOM")),
            "{reply:?}"
        );
        client.run("CONFIG SET maxmemory 0");
        assert_eq!(client.run("GET k").text(), Some("1"));

        let primary = super::engine(kind);
        client.run(&format!("REPLICAOF 127.0.0.1 {}", primary.port()));
        let reply = client.run("WASM.CALL count KEYS k");
        assert!(
            reply
                .error()
                .is_some_and(|error| error.starts_with("READONLY")),
            "{reply:?}"
        );
        client.run("REPLICAOF NO ONE");
        assert!(client.run("WASM.CALL count KEYS k").int().is_some());
    });
}

#[test]
fn a_wrong_password_in_the_url_is_said_to_be() {
    on_each(|kind| {
        let engine = kind
            .builder()
            .unmodified()
            .arguments(&["--requirepass", "right"])
            .start();
        let url = format!("redis://:rightpass-not@{}", engine.address());
        let server = Server::builder()
            .arguments(&["--upstream", &url, "--upstream-share-account", "true"])
            .start();
        let told = |reply: Reply| {
            let error = reply.error().unwrap_or_default();
            assert!(
                error.starts_with("STORE")
                    && error.contains("WRONGPASS")
                    && error.contains("upstream.url")
                    && !error.contains("rightpass-not"),
                "{kind:?}: {reply:?}"
            );
        };
        for words in [
            &["WASM.CALL", "count", "KEYS", "k"][..],
            &["WASM.DEFINE", "count", COUNT],
            &["GET", "k"],
        ] {
            told(server.client().call(words));
        }
        // Requests are answered in order, and whoever has the password can still give it.
        let mut client = server.client();
        let requests = [
            &["GET", "k"][..],
            &["PING"],
            &["AUTH", "right"],
            &["GET", "k"],
        ];
        let requests = requests.map(ferrite_tests::encode);
        client.send(&requests.concat());
        told(client.reply());
        told(client.reply());
        assert_eq!(client.reply(), Reply::Simple("OK".to_owned()));
        assert_eq!(client.reply(), Reply::Null);
        let log = server.log();
        assert!(
            log.contains("the engine refuses the credentials of this server")
                && log.contains("WRONGPASS")
                && !log.contains("rightpass-not"),
            "{log}"
        );
        // The right one can still be given by a client of another server.
        let url = format!("redis://{}", engine.address());
        let server = Server::builder().arguments(&["--upstream", &url]).start();
        let mut client = server.client();
        assert_eq!(client.run("AUTH right"), Reply::Simple("OK".to_owned()));
        define(&mut client, "count", COUNT);
        assert_eq!(client.run("WASM.CALL count KEYS k"), Reply::Int(1));
    });
}

#[test]
fn a_wrong_configuration_is_refused_at_the_start() {
    for (arguments, text) in [
        (
            &["--upstream", "localhost:6379"][..],
            "redis:// or rediss://",
        ),
        (
            &["--upstream", "redis://h/1"],
            "nothing may follow the port",
        ),
        (
            &["--upstream", "redis://h", "--password", "x"],
            "those of the engine",
        ),
        (
            &["--upstream", "redis://h", "--upstream-connections", "0"],
            "1 or more",
        ),
    ] {
        let log = Server::builder()
            .arguments(arguments)
            .try_start()
            .expect_err("it is wrong");
        assert!(log.contains(text), "{arguments:?}: {log}");
    }
}

#[test]
fn a_server_without_data_writes_none() {
    let Some(kind) = EngineKind::unmodified_here().first().copied() else {
        return;
    };
    let engine = engine(kind);
    let server = before(&engine).start();
    server.client().run("SET k 1");
    assert!(!server.dir().join("data/store").exists());
}
