//! An engine that is killed in the middle of calls, TLS, and values of tens of megabytes.

use std::sync::atomic::{AtomicBool, Ordering};

use ferrite_tests::{Client, EngineKind, Reply, Server};

use super::{COUNT, before, define, engine, on_each};
use crate::connections::tls::authority::{Authority, write};

#[test]
fn nothing_is_lost_or_done_twice_when_the_engine_is_killed() {
    const KILLS: usize = 4;
    on_each(|kind| {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let durable = || {
            let builder = kind.builder().unmodified().dir(dir.path());
            builder.arguments(&["--appendonly", "yes", "--appendfsync", "always"])
        };
        let mut engine = durable().start();
        let port = engine.port();
        let server = before(&engine).start();
        define(&mut server.client(), "count", COUNT);
        let done = AtomicBool::new(false);
        let (counted, unknown) = std::thread::scope(|scope| {
            let callers: Vec<_> = (0..3)
                .map(|_| {
                    scope.spawn(|| {
                        let (mut counted, mut unknown) = (0, 0);
                        let mut client = server.client();
                        while !done.load(Ordering::SeqCst) {
                            let bytes = ferrite_tests::encode(&["WASM.CALL", "count", "KEYS", "n"]);
                            let reply = match client.try_send(&bytes) {
                                Ok(()) => client.next(),
                                Err(_) => None,
                            };
                            match reply {
                                Some(Reply::Int(_)) => counted += 1,
                                Some(Reply::Error(error))
                                    if error.contains("may have taken effect") =>
                                {
                                    unknown += 1;
                                }
                                // It is down, or still reads its file.
                                Some(Reply::Error(_)) => {}
                                other => {
                                    assert!(other.is_none(), "{other:?}");
                                    unknown += 1;
                                    client = server.client();
                                }
                            }
                        }
                        (counted, unknown)
                    })
                })
                .collect();
            for _ in 0..KILLS {
                let mut direct = engine.client();
                let before = number(&mut direct);
                while number(&mut direct) < before + 30 {
                    std::thread::yield_now();
                }
                engine.kill();
                engine = durable().port(port).start();
            }
            done.store(true, Ordering::SeqCst);
            callers
                .into_iter()
                .fold((0, 0), |(counted, unknown), caller| {
                    let (more, lost) = caller.join().expect("no failure");
                    (counted + more, unknown + lost)
                })
        });
        let total = number(&mut engine.client());
        assert!(
            (counted..=counted + unknown).contains(&total),
            "{kind:?}: {total} is not in {counted}..={}",
            counted + unknown
        );
    });
}

fn number(direct: &mut Client) -> i64 {
    let reply = direct.run("GET n");
    let text = reply.text().and_then(|text| text.parse().ok());
    text.unwrap_or(0)
}

#[test]
fn an_engine_is_reached_through_tls() {
    for kind in EngineKind::unmodified_here() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let authority = Authority::new();
        write(dir.path(), &authority, &authority.identity("localhost"));
        let probe = engine(kind);
        let port = probe.port();
        drop(probe);
        let path = |name: &str| dir.path().join(name).display().to_string();
        let (ca, cert, key) = (path("ca.pem"), path("cert.pem"), path("key.pem"));
        let started = kind
            .builder()
            .unmodified()
            .dir(dir.path())
            .port(0)
            .arguments(&["--tls-port", &port.to_string(), "--tls-auth-clients", "no"])
            .arguments(&["--tls-cert-file", &cert, "--tls-key-file", &key])
            .arguments(&["--tls-ca-cert-file", &ca])
            .try_start();
        // Some are built without it.
        let Ok(_engine) = started else {
            continue;
        };
        let url = format!("rediss://localhost:{port}");
        let server = Server::builder()
            .arguments(&["--upstream", &url, "--upstream-ca", &ca])
            .start();
        let mut client = server.client();
        define(&mut client, "count", COUNT);
        assert_eq!(client.run("WASM.CALL count KEYS k"), Reply::Int(1));
        assert_eq!(client.run("GET k").text(), Some("1"));
        let large = vec![b'x'; 3_000_000];
        client.call(&[b"SET".as_slice(), b"large", &large]);
        assert_eq!(client.run("GET large"), Reply::Bulk(large));
        // Another authority has not signed it, and another name is not its own.
        let other = tempfile::tempdir().expect("a temporary folder");
        let stranger = Authority::new();
        write(other.path(), &stranger, &stranger.identity("localhost"));
        let strange = other.path().join("ca.pem").display().to_string();
        let misnamed = format!("rediss://127.0.0.1:{port}");
        for (url, ca) in [(&url, &strange), (&misnamed, &ca)] {
            let server = Server::builder()
                .arguments(&["--upstream", url, "--upstream-ca", ca])
                .start();
            for line in ["GET k", "WASM.CALL count KEYS k"] {
                let reply = server.client().run(line);
                let error = reply.error().unwrap_or_default();
                assert!(error.contains("certificate"), "{url}, {line}: {reply:?}");
            }
        }
    }
}

#[test]
fn a_value_of_tens_of_megabytes_is_read_and_written() {
    on_each(|kind| {
        let engine = engine(kind);
        let server = before(&engine)
            .arguments(&[
                "--upstream-max-value",
                "64MB",
                "--upstream-max-fetch",
                "64MB",
            ])
            .start();
        let mut client = server.client();
        define(&mut client, "any", include_str!("guests/any.wat"));
        let len = 20_000_000;
        client.run(&format!("SETRANGE text {} y", len - 1));
        let appended = client.run("WASM.CALL any KEYS text ARGS APPEND text abc");
        assert_eq!(appended, Reply::Int(len + 3), "{kind:?}");
        assert_eq!(client.run("STRLEN text"), Reply::Int(len + 3));
        assert_eq!(client.run("GETRANGE text -4 -1").text(), Some("yabc"));
        let read = client.run("WASM.CALL any KEYS text ARGS GETRANGE text -4 -1");
        assert_eq!(read.text(), Some("yabc"));
        // All of it is longer than the function's memory.
        let reply = client.run("WASM.CALL any KEYS text ARGS GET text");
        assert!(
            reply.error().is_some() || reply.text().is_none(),
            "{kind:?}"
        );
        assert_eq!(
            client.run("WASM.CALL any KEYS text ARGS DEL text"),
            Reply::Int(1)
        );
    });
}
