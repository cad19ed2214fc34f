//! Servers that send too much, too little, too slowly, or something else.

use std::time::Duration;

use super::server::{Server, Speaks};
use super::{Answer, Client, options};

#[tokio::test(flavor = "multi_thread")]
async fn responses_are_bounded_and_must_be_complete() {
    let server = Server::start(Speaks::Https).await;
    let client = Client::new(&server);
    for (path, expected) in [
        (
            "/endless",
            "LIMIT the response has more than 1048576 bytes; raise max_response",
        ),
        ("/huge", "LIMIT the response has more than 1048576 bytes"),
        ("/bomb", "LIMIT the response has more than 1048576 bytes"),
        (
            "/empty-members",
            "LIMIT the response has more than 1048576 bytes",
        ),
        ("/endless-headers", "PROTOCOL "),
        ("/garbage", "PROTOCOL "),
        ("/two-lengths", "PROTOCOL "),
        ("/early", "PROTOCOL "),
        ("/gzip-cut", "PROTOCOL the response cannot be unpacked"),
        ("/gzip-wrong", "PROTOCOL the response cannot be unpacked"),
    ] {
        let url = format!("https://localhost:{}{path}", server.port);
        let failure = client.get(&url).await.failure();
        assert!(failure.starts_with(expected), "{path}: {failure}");
        assert!(!failure.contains(['\r', '\n']), "{failure}");
    }
    let url = format!("https://localhost:{}/gzip", server.port);
    let Answer::Response { body, headers, .. } = client.get(&url).await else {
        panic!("no response");
    };
    assert_eq!((body.as_str(), headers.as_slice()), ("unpacked", &[][..]));
    // A function that asks for packed bytes gets them.
    let answer = client
        .send(&["GET", &url, "", "accept-encoding", "gzip"])
        .await;
    let Answer::Response { headers, .. } = answer else {
        panic!("no response");
    };
    assert!(headers.contains(&("content-encoding".to_owned(), "gzip".to_owned())));
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_servers_end_with_the_time_of_the_request() {
    let server = Server::start(Speaks::Https).await;
    let client = Client::new(&server);
    for path in ["/silent", "/slow-headers", "/slow-body"] {
        let url = format!("https://localhost:{}{path}", server.port);
        let failure = client
            .send(&["GET", &url, "", ":timeout", "200"])
            .await
            .failure();
        assert_eq!(failure, "TIMEOUT no response within 200 ms", "{path}");
        // The request is given up, so the server sees the connection end.
        server.seen.gone.notified().await;
    }
    let mut short = options(&server);
    short.limits.time_max = Duration::from_millis(100);
    let client = Client::with(short);
    let url = format!("https://localhost:{}/silent", server.port);
    let failure = client
        .send(&["GET", &url, "", ":timeout", "60000"])
        .await
        .failure();
    assert_eq!(failure, "TIMEOUT no response within 100 ms");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_right_certificate_will_do() {
    let server = Server::start(Speaks::Https).await;
    let client = Client::new(&server);
    let hello = format!("https://localhost:{}/hello", server.port);
    assert_eq!(client.get(&hello).await.body(), "hello");
    let by_address = format!("https://127.0.0.1:{}/hello", server.port);
    assert_eq!(client.get(&by_address).await.body(), "hello");

    // The name in the certificate is another.
    let mut elsewhere = options(&server);
    elsewhere.resolver = super::resolving(|_| Ok(vec![[127, 0, 0, 1].into()]));
    let client = Client::with(elsewhere);
    let url = format!("https://wrong.example:{}/hello", server.port);
    let failure = client.get(&url).await.failure();
    assert!(failure.starts_with("TLS host wrong.example: "), "{failure}");

    // Nobody vouches for the certificate.
    let mut unknown = options(&server);
    unknown.extra_roots.clear();
    let failure = Client::with(unknown).get(&hello).await.failure();
    assert!(failure.starts_with("TLS host localhost: "), "{failure}");
    assert!(failure.contains("UnknownIssuer"), "{failure}");
    assert_eq!(
        server.requests().len(),
        2,
        "no request went to a server without the right certificate"
    );

    // No TLS at all.
    let plain = Server::start(Speaks::Http).await;
    let url = format!("https://localhost:{}/hello", plain.port);
    let failure = Client::new(&plain).get(&url).await.failure();
    assert!(
        failure.starts_with("TLS ") || failure.starts_with("TIMEOUT "),
        "{failure}"
    );
    assert_eq!(plain.requests(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn redirections_end_and_lead_only_where_the_function_may_go() {
    let server = Server::start(Speaks::Http).await;
    let other = Server::start(Speaks::Http).await;
    let (port, other_port) = (server.port, other.port);
    let base = format!("http://localhost:{port}");
    let rules = [
        format!("http://localhost:{port}"),
        format!("http://localhost:{other_port}/echo"),
        "http://169.254.169.254".to_owned(),
        "http://[::ffff:127.0.0.1]:*".to_owned(),
    ];
    let rules: Vec<&str> = rules.iter().map(String::as_str).collect();
    let client = Client::with_rules(options(&server), &rules);

    let failure = client.get(&format!("{base}/loop")).await.failure();
    assert_eq!(failure, "REDIRECT more than 5 redirections");
    assert_eq!(server.requests().len(), 6);
    for (target, expected) in [
        // Allowed by the function's rules, and refused for its address.
        (
            "http://169.254.169.254/latest/meta-data",
            "ADDRESS host 169.254.169.254 is 169.254.169.254, a link-local address",
        ),
        (
            "http://[::ffff:169.254.169.254]/",
            "REDIRECT a redirection leads to GET http://[::ffff:169.254.169.254]/, which allow_network does not allow",
        ),
        (
            &format!("http://localhost:{other_port}/secret"),
            "REDIRECT a redirection leads to GET http://localhost",
        ),
        (
            &format!("//localhost:{other_port}/"),
            "REDIRECT a redirection leads to GET",
        ),
        (
            "http://user@localhost/",
            "REDIRECT the target of a redirection: the URL has a user name",
        ),
        (
            "file:///etc/passwd",
            "REDIRECT the target of a redirection: the URL does not begin",
        ),
        (
            "gopher://localhost/",
            "REDIRECT the target of a redirection: the URL does not begin",
        ),
    ] {
        let failure = client.get(&format!("{base}/302?{target}")).await.failure();
        assert!(failure.starts_with(expected), "{target}: {failure}");
    }
    assert_eq!(
        other.requests(),
        [""; 0],
        "nothing went where the function may not go"
    );

    // Not followed if the function says so.
    let answer = client
        .send(&["GET", &format!("{base}/302?/x"), "", ":redirects", "0"])
        .await;
    assert!(
        matches!(answer, Answer::Response { status: 302, .. }),
        "{answer:?}"
    );

    // From https to http, nothing goes.
    let secure = Server::start(Speaks::Https).await;
    let client = Client::new(&secure);
    let url = format!(
        "https://localhost:{}/302?http://localhost:{port}/",
        secure.port
    );
    let failure = client.get(&url).await.failure();
    assert!(
        failure.starts_with("REDIRECT a redirection leads from https to"),
        "{failure}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirection_changes_method_and_headers_as_it_should() {
    let server = Server::start(Speaks::Http).await;
    let other = Server::start(Speaks::Http).await;
    let base = format!("http://localhost:{}", server.port);
    let client = Client::new(&server);
    let headers = [
        "authorization",
        "secret",
        "cookie",
        "secret",
        "x-kept",
        "yes",
    ];
    for (status, method, body) in [
        (301, "GET", ""),
        (302, "GET", ""),
        (303, "GET", ""),
        (307, "POST", "data"),
        (308, "POST", "data"),
    ] {
        let url = format!("{base}/{status}?http://localhost:{}/echo", other.port);
        let request = [&["POST", &url, "data"], &headers[..]].concat();
        let shown = client.send(&request).await.body();
        assert!(
            shown.starts_with(&format!("{method} /echo HTTP/1.1\r\n")),
            "{shown}"
        );
        assert!(
            shown.ends_with(&format!("\r\n\r\n{body}")),
            "{status}: {shown}"
        );
        assert!(
            shown.contains("x-kept: yes\r\n") && !shown.contains("secret"),
            "{shown}"
        );
        // On the same origin, they stay.
        let url = format!("{base}/{status}?/echo");
        let request = [&["POST", &url, "data"], &headers[..]].concat();
        let shown = client.send(&request).await.body();
        assert!(shown.contains("authorization: secret\r\n"), "{shown}");
    }
}
