//! Questions about all keys while a primary joins the cluster.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ferrite_tests::{Client, Reply, Server};

use super::define;
use crate::upstream::all_keys::ANY;
use crate::upstream::bad_engines::answering;

fn bulk(text: &str) -> String {
    format!("${}\r\n{text}\r\n", text.len())
}

fn slots(first: u16, last: u16, port: u16) -> String {
    let node = bulk("127.0.0.1");
    format!("*3\r\n:{first}\r\n:{last}\r\n*2\r\n{node}:{port}\r\n")
}

/// A node that answers questions about its keys, which are named after it.
fn node(
    slots: impl Fn(u16) -> String + Send + Clone + 'static,
    asked: Arc<AtomicBool>,
    name: &'static str,
) -> SocketAddr {
    answering(move |port, words| {
        let text = |at: usize| String::from_utf8_lossy(words.get(at).copied().unwrap_or_default());
        let reply = match &*text(0).to_ascii_uppercase() {
            "CLUSTER" => slots(port),
            question @ ("DBSIZE" | "KEYS" | "SCAN") => {
                asked.store(true, Ordering::SeqCst);
                let first = bulk(&format!("{name}:1"));
                let second = bulk(&format!("{name}:2"));
                match (question, &*text(1)) {
                    ("DBSIZE", _) => ":2\r\n".to_owned(),
                    ("KEYS", _) => format!("*2\r\n{first}{second}"),
                    (_, "0") => format!("*2\r\n{}*1\r\n{first}", bulk("9")),
                    _ => format!("*2\r\n{}*1\r\n{second}", bulk("0")),
                }
            }
            _ => "+PONG\r\n".to_owned(),
        };
        reply.into_bytes()
    })
}

/// A server in front of a cluster of one node, which gets a second one as soon as the first was asked about its
/// keys.
fn before_a_growing_cluster() -> Server {
    let asked = Arc::new(AtomicBool::new(false));
    let second = node(|port| slots(0, 0, port), Arc::clone(&asked), "new").port();
    let grows = Arc::clone(&asked);
    let map = move |port: u16| match grows.load(Ordering::SeqCst) {
        false => format!("*1\r\n{}", slots(0, 16_383, port)),
        true => format!(
            "*2\r\n{}{}",
            slots(0, 8191, port),
            slots(8192, 16_383, second)
        ),
    };
    let first = node(map, asked, "old");
    let url = format!("redis+cluster://{first}");
    Server::builder().arguments(&["--upstream", &url]).start()
}

fn keys(reply: &Reply) -> BTreeSet<String> {
    let keys = reply.elements().unwrap_or_else(|| panic!("{reply:?}"));
    let keys = keys.iter().map(|key| key.text().expect("a key").to_owned());
    keys.collect()
}

#[test]
fn all_primaries_are_asked_that_are_there_at_the_end() {
    let all: BTreeSet<String> = ["old:1", "old:2", "new:1", "new:2"]
        .map(str::to_owned)
        .into();
    let ask = |words: &[&str]| {
        let server = before_a_growing_cluster();
        let mut client = server.client();
        define(&mut client, "any", ANY);
        client.call(words)
    };
    assert_eq!(ask(&["DBSIZE"]), Reply::Int(4));
    assert_eq!(keys(&ask(&["KEYS", "*"])), all);
    assert_eq!(ask(&["FCALL", "any", "0", "DBSIZE"]), Reply::Int(4));
    assert_eq!(keys(&ask(&["FCALL", "any", "0", "KEYS", "*"])), all);
}

#[test]
fn a_scan_of_other_primaries_begins_again() {
    let server = before_a_growing_cluster();
    let mut client = server.client();
    define(&mut client, "any", ANY);
    let step = |client: &mut Client, words: &[&str]| {
        let reply = client.call(words);
        let parts = reply.elements().unwrap_or_else(|| panic!("{reply:?}"));
        let cursor = parts[0].text().expect("a cursor").to_owned();
        (cursor, keys(&parts[1]))
    };
    let (cursor, found) = step(&mut client, &["SCAN", "0"]);
    assert_eq!(found, BTreeSet::from(["old:1".to_owned()]));
    // Now the second one is known.
    assert_eq!(client.run("DBSIZE"), Reply::Int(4));
    for words in [
        &["SCAN", &cursor][..],
        &["FCALL", "any", "0", "SCAN", &cursor],
    ] {
        let reply = client.call(words);
        let error = reply.error().unwrap_or_default();
        assert!(error.contains("begin again with the cursor 0"), "{reply:?}");
    }
    let (mut cursor, mut found) = ("0".to_owned(), BTreeSet::new());
    loop {
        let (next, more) = step(&mut client, &["SCAN", &cursor]);
        cursor = next;
        found.extend(more);
        if cursor == "0" {
            break;
        }
    }
    assert_eq!(found.len(), 4, "{found:?}");
}
