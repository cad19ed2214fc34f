//! Requests as part of a call: sent once, counted, ended with it.

use std::sync::atomic::Ordering;
use std::time::Duration;

use ferrite_runtime::call::request::CallRequest;
use ferrite_runtime::scheduling::cancellation::CallHandle;
use ferrite_runtime::{CallError, Code, FunctionName, LoadRequest, NetworkOptions, Source};

use super::server::{Server, Speaks};
use super::{Answer, Client, GUEST, encode, options};

#[tokio::test(flavor = "multi_thread")]
async fn a_response_has_status_url_body_and_headers() {
    let server = Server::start(Speaks::Http).await;
    let client = Client::new(&server);
    let url = format!("http://localhost:{}/echo?a=b", server.port);
    let answer = client
        .send(&["POST", &url, "a\r\nbody\0", "X-Own", "1", "accept", "a/b"])
        .await;
    let Answer::Response {
        status,
        url: from,
        body,
        headers,
    } = answer
    else {
        panic!("{answer:?}");
    };
    assert_eq!((status, &from), (200, &url));
    assert!(body.starts_with("POST /echo?a=b HTTP/1.1\r\n"), "{body}");
    for line in [
        "x-own: 1",
        "accept: a/b",
        "accept-encoding: gzip",
        "content-length: 8",
        &format!("host: localhost:{}", server.port),
    ] {
        assert!(body.contains(&format!("\r\n{line}\r\n")), "{line}: {body}");
    }
    assert!(body.ends_with("\r\n\r\na\r\nbody\0"), "{body}");
    assert!(headers.contains(&("x-two".to_owned(), "2".to_owned())));
    let missing = client
        .get(&format!("http://localhost:{}/missing", server.port))
        .await;
    assert!(
        matches!(missing, Answer::Response { status: 404, .. }),
        "{missing:?}"
    );
    let head = client
        .send(&[
            "HEAD",
            &format!("http://localhost:{}/huge", server.port),
            "",
        ])
        .await;
    assert!(
        matches!(&head, Answer::Response { status: 200, body, .. } if body.is_empty()),
        "{head:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_used_again() {
    for speaks in [Speaks::Https, Speaks::Http2] {
        let server = Server::start(speaks).await;
        let client = Client::new(&server);
        let url = format!("https://localhost:{}/", server.port);
        for _ in 0..5 {
            let expected = if speaks == Speaks::Http2 {
                "by HTTP/2"
            } else {
                "hello"
            };
            assert_eq!(client.get(&url).await.body(), expected);
        }
        assert_eq!((server.connections(), server.requests().len()), (1, 5));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_permissions_do_not_name_is_denied_before_anything_is_sent() {
    let server = Server::start(Speaks::Http).await;
    let port = server.port;
    let rule = format!("GET http://localhost:{port}/open/*");
    let client = Client::with_rules(options(&server), &[&rule]);
    assert_eq!(
        client
            .get(&format!("http://localhost:{port}/open/x"))
            .await
            .body(),
        "hello"
    );
    for (method, url) in [
        ("POST", format!("http://localhost:{port}/open/x")),
        ("GET", format!("http://localhost:{port}/")),
        ("GET", format!("http://127.0.0.1:{port}/open/x")),
        ("GET", format!("https://localhost:{port}/open/x")),
    ] {
        let answer = client.send(&[method, &url, ""]).await;
        assert_eq!(answer, Answer::Reply(":-16".to_owned()), "{method} {url}");
    }
    let denied = client
        .get(&format!("http://localhost:{port}/open/%2e%2e/secret"))
        .await;
    assert!(
        denied
            .failure()
            .starts_with("INVALID the path has a . or .. segment")
    );
    assert_eq!(server.requests().len(), 1);
    // Without a rule there is no network at all.
    let client = Client::with_rules(options(&server), &[]);
    let answer = client.get(&format!("http://localhost:{port}/")).await;
    assert_eq!(answer, Answer::Reply(":-16".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_makes_only_so_many_requests() {
    let server = Server::start(Speaks::Http).await;
    let client = Client::new(&server);
    let request = encode(&["GET", &format!("http://localhost:{}/", server.port), ""]);
    let args: [&[u8]; 1] = [&request];
    let answer = client
        .call(&CallRequest::new(b"test.count", &[], &args))
        .await;
    assert_eq!(answer, Answer::Reply(":16".to_owned()));
    assert_eq!(server.requests().len(), 16);
    // A guest that goes on all the same pays for each attempt until its fuel ends.
    let answer = client
        .call(&CallRequest::new(b"test.forever", &[], &args))
        .await;
    let Answer::Reply(reply) = answer else {
        panic!("{answer:?}")
    };
    assert!(reply.starts_with("-FUEL "), "{reply}");
    assert_eq!(server.requests().len(), 32);
}

#[tokio::test(flavor = "multi_thread")]
async fn long_requests_are_refused() {
    let server = Server::start(Speaks::Http).await;
    let mut small = options(&server);
    small.limits.request_bytes_max = 1000;
    let client = Client::with(small);
    let url = format!("http://localhost:{}/echo", server.port);
    let failure = client
        .send(&["POST", &url, &"x".repeat(2000)])
        .await
        .failure();
    assert!(failure.starts_with("LIMIT the request has 20"), "{failure}");
    assert!(
        failure.ends_with("the limit is 1000; raise max_request"),
        "{failure}"
    );
    assert_eq!(server.requests(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conflict_sends_no_request_again() {
    let server = Server::start(Speaks::Http).await;
    let client = Client::new(&server);
    let silent = format!("http://localhost:{}/hello", server.port);
    let request = encode(&["GET", &silent, ""]);
    let args: [&[u8]; 1] = [&request];
    // Another writes the key that the call has read, before its first try commits.
    let keyspace = client.host.keyspace.clone();
    keyspace.conflicts.store(3, Ordering::Relaxed);
    let answer = client
        .call(&CallRequest::new(b"test.add", &[], &args))
        .await;
    assert_eq!(answer, Answer::Reply(":1".to_owned()));
    assert_eq!(
        keyspace.conflicts.load(Ordering::Relaxed),
        0,
        "three tries met a conflict"
    );
    assert_eq!(server.requests().len(), 1);
    // Two equal requests of one try are two.
    let answer = client
        .call(&CallRequest::new(b"test.twice", &[], &args))
        .await;
    assert_eq!(answer.body(), "hello");
    assert_eq!(server.requests().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiting_call_ends_by_a_kill_and_by_its_time() {
    let server = Server::start(Speaks::Http).await;
    let client = Client::new(&server);
    let url = format!("http://localhost:{}/silent", server.port);
    let request = encode(&["GET", &url, ""]);
    let args: [&[u8]; 1] = [&request];

    let handle = CallHandle::new();
    let killed = CallRequest {
        handle: Some(&handle),
        ..CallRequest::new(b"test.add", &[], &args)
    };
    let (answer, ()) = tokio::join!(client.call(&killed), async {
        server.seen.stuck.notified().await;
        handle.kill();
    });
    let Answer::Reply(reply) = answer else {
        panic!("{answer:?}")
    };
    assert!(reply.starts_with("-KILLED "), "{reply}");
    server.seen.gone.notified().await;

    let killing = CallRequest::new(b"test.add", &[], &args);
    let (answer, ()) = tokio::join!(client.call(&killing), async {
        server.seen.stuck.notified().await;
        assert_eq!(client.function.kill_all(), 1);
    });
    let Answer::Reply(reply) = answer else {
        panic!("{answer:?}")
    };
    assert!(reply.starts_with("-KILLED "), "{reply}");
    server.seen.gone.notified().await;

    let short = CallRequest {
        timeout: Some(Duration::from_millis(150)),
        ..CallRequest::new(b"test.add", &[], &args)
    };
    let answer = client.call(&short).await;
    let Answer::Reply(reply) = answer else {
        panic!("{answer:?}")
    };
    assert!(reply.starts_with("-TIMEOUT "), "{reply}");
    server.seen.stuck.notified().await;
    server.seen.gone.notified().await;

    // A call that is dropped gives its request up, too.
    let dropped = CallRequest::new(b"test.add", &[], &args);
    tokio::select! {
        answer = client.call(&dropped) => panic!("{answer:?}"),
        () = server.seen.stuck.notified() => {}
        () = tokio::time::sleep(Duration::from_secs(60)) => panic!("no request"),
    }
    server.seen.gone.notified().await;
    assert_eq!(
        client.host.keyspace.string("n"),
        None,
        "none of them left a trace"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_may_not_wait_makes_no_request() {
    let server = Server::start(Speaks::Http).await;
    let client = Client::new(&server);
    let request = encode(&["GET", &format!("http://localhost:{}/", server.port), ""]);
    let args: [&[u8]; 1] = [&request];
    let inside = CallRequest {
        may_wait: false,
        ..CallRequest::new(b"test", &[], &args)
    };
    let failure = client.call(&inside).await.failure();
    assert_eq!(
        failure,
        "UNAVAILABLE no requests while the module starts, in a transaction or in a script"
    );
    assert_eq!(server.connections(), 0);
}

#[test]
fn a_server_that_allows_less_refuses_the_function_at_load() {
    let server_rules = NetworkOptions {
        rules: ferrite_runtime::policy::network::rule::NetworkRules::parse(&[
            "https://*.example.com",
        ])
        .expect("a rule"),
        ..NetworkOptions::default()
    };
    for (options, rule, allowed) in [
        (NetworkOptions::default(), "https://api.example.com", false),
        (server_rules.clone(), "https://api.example.com/v1/*", true),
        (server_rules.clone(), "https://example.com", false),
        (server_rules, "https://api.example.com:8443", false),
    ] {
        let host = crate::support::Host::with_runtime(ferrite_runtime::RuntimeOptions {
            network: options,
            ..ferrite_runtime::RuntimeOptions::default()
        });
        let permissions = ferrite_runtime::Permissions {
            allow_network: vec![rule.to_owned()],
            ..ferrite_runtime::Permissions::default()
        };
        let error = host
            .runtime
            .load(LoadRequest {
                permissions: Some(permissions),
                ..LoadRequest::new(
                    FunctionName::parse(b"f").expect("a name"),
                    Source::Text(GUEST.as_bytes().into()),
                )
            })
            .expect_err("there is no compiler here");
        let refused = error.code() == Code::NoPermission;
        assert_eq!(refused, !allowed, "{rule}: {error}");
        if refused {
            let text = CallError::text(&error);
            assert!(
                text.contains("wasm.security.allow_network says what it allows"),
                "{text}"
            );
        }
    }
}
