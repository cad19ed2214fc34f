//! Names and addresses that lead inside.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::server::{Server, Speaks};
use super::{Answer, Client, options, resolving};

#[tokio::test(flavor = "multi_thread")]
async fn private_addresses_are_not_reached() {
    let server = Server::start(Speaks::Http).await;
    let mut closed = options(&server);
    closed.private_ranges.clear();
    let client = Client::with(closed);
    let port = server.port;
    for host in [
        "127.0.0.1",
        "localhost",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::127.0.0.1]",
        "[64:ff9b::127.0.0.1]",
        "[fe80::1]",
        "[fd00::1]",
        "0.0.0.0",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.0.1",
        "100.64.0.1",
        "169.254.169.254",
        "255.255.255.255",
    ] {
        let failure = client
            .get(&format!("http://{host}:{port}/"))
            .await
            .failure();
        assert!(failure.starts_with("ADDRESS host "), "{host}: {failure}");
    }
    for host in [
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "127.1",
        "user@127.0.0.1",
        "good.example:80@127.0.0.1",
        "127.0.0.1%00.good.example",
        "good.example#@127.0.0.1",
        "good.example\\@127.0.0.1",
        "①②⑦.0.0.1",
        "[::1%25lo]",
    ] {
        let url = format!("http://{host}:{port}/");
        let answer = client.get(&url).await;
        let Answer::Failed(failure) = answer else {
            panic!("{answer:?}")
        };
        let refused = ["INVALID ", "ADDRESS ", "DNS ", "CONNECT "];
        assert!(
            refused.iter().any(|code| failure.starts_with(code)),
            "{host}: {failure}"
        );
    }
    assert_eq!(server.connections(), 0, "nobody has even connected");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_private_address_spoils_an_answer() {
    let server = Server::start(Speaks::Http).await;
    let mut mixed = options(&server);
    mixed.private_ranges.clear();
    mixed.resolver = resolving(|_| {
        let public: IpAddr = [192, 0, 78, 9].into();
        Ok(vec![public, [127, 0, 0, 1].into()])
    });
    let failure = Client::with(mixed)
        .get(&format!("http://mixed.example:{}/", server.port))
        .await
        .failure();
    assert!(
        failure.starts_with("ADDRESS host mixed.example is 127.0.0.1, a loopback address"),
        "{failure}"
    );
    assert_eq!(server.connections(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_changes_is_checked_each_time_and_never_asked_twice() {
    let server = Server::start(Speaks::Http).await;
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&asked);
    // The first answer may be reached, every later one may not: if anything asked again between the
    // check and the connection, it would connect elsewhere.
    let mut rebinding = options(&server);
    rebinding.resolver = resolving(move |_| {
        let first = counter.fetch_add(1, Ordering::SeqCst) == 0;
        Ok(vec![if first {
            [127, 0, 0, 1].into()
        } else {
            [169, 254, 169, 254].into()
        }])
    });
    let client = Client::with(rebinding);
    let url = format!("http://rebinding.example:{}", server.port);
    assert_eq!(client.get(&format!("{url}/hello")).await.body(), "hello");
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    // The server ends this connection, so that the next request needs another one.
    client.get(&format!("{url}/early")).await.failure();
    let failure = client.get(&format!("{url}/hello")).await.failure();
    assert!(
        failure.starts_with("ADDRESS host rebinding.example is 169.254.169.254"),
        "{failure}"
    );
    assert_eq!(server.connections(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_that_are_not_there_are_told_apart() {
    let server = Server::start(Speaks::Http).await;
    let mut absent = options(&server);
    absent.resolver = resolving(|host| match host {
        "empty.example" => Ok(Vec::new()),
        "closed.example" => Ok(vec![[127, 0, 0, 1].into()]),
        _ => Err(io::Error::other("no such host")),
    });
    let client = Client::with(absent);
    for (url, expected) in [
        (
            "http://missing.example/",
            "DNS host missing.example: no such host",
        ),
        (
            "http://empty.example/",
            "CONNECT host empty.example has no address",
        ),
        ("http://closed.example:1/", "CONNECT 127.0.0.1 port 1: "),
    ] {
        let failure = client.get(url).await.failure();
        assert!(failure.starts_with(expected), "{url}: {failure}");
    }
}
