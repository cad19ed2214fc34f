//! Invalid requests: each gets one error, its connection is closed, and others are unaffected.

use ferrite_tests::{Client, Reply, Server};

/// Bytes to send, and the error that answers them.
const FRAMES: &[(&str, &[u8], &str)] = &[
    (
        "a frame of 1 GB",
        b"*2\r\n$3\r\nSET\r\n$1073741824\r\n",
        "invalid bulk length",
    ),
    (
        "a length beyond 64 bits",
        b"*1\r\n$99999999999999999999\r\n",
        "invalid bulk length",
    ),
    ("a negative length", b"*1\r\n$-1\r\n", "invalid bulk length"),
    (
        "a length that is no number",
        b"*1\r\n$4x\r\nPING\r\n",
        "invalid bulk length",
    ),
    (
        "a length without digits",
        b"*1\r\n$\r\n",
        "invalid bulk length",
    ),
    ("a negative count", b"*-5\r\n", "invalid multibulk length"),
    (
        "a count of a billion",
        b"*1000000000\r\n",
        "invalid multibulk length",
    ),
    (
        "a count beyond 64 bits",
        b"*99999999999999999999\r\n",
        "invalid multibulk length",
    ),
    (
        "a count that is no number",
        b"*one\r\n",
        "invalid multibulk length",
    ),
    (
        "a nested array",
        b"*1\r\n*1\r\n$4\r\nPING\r\n",
        "expected '$', got '*'",
    ),
    (
        "an integer as a word",
        b"*1\r\n:1\r\n",
        "expected '$', got ':'",
    ),
    (
        "a word that goes on",
        b"*1\r\n$4\r\nPINGPONG\r\n",
        "expected CRLF after bulk string",
    ),
    (
        "quotes that do not close",
        b"SET k \"v\r\n",
        "unbalanced quotes in request",
    ),
];

#[test]
fn each_bad_frame_gets_its_error_and_the_end() {
    let server = Server::start();
    let mut other = server.client();
    for (name, bytes, message) in FRAMES {
        let mut client = server.client();
        client.send(bytes);
        let reply = client.reply();
        assert_eq!(
            reply,
            Reply::Error(format!("ERR Protocol error: {message}")),
            "{name}"
        );
        assert_eq!(client.next(), None, "after {name} the connection is closed");
        assert_eq!(
            other.run("PING"),
            Reply::Simple("PONG".into()),
            "others go on after {name}"
        );
    }
}

#[test]
fn arrays_nested_a_million_deep_do_no_harm() {
    let server = Server::start();
    let mut client = server.client();
    // The server may close before it has read everything.
    let _ = client.try_send(&b"*1\r\n".repeat(1_000_000));
    let reply = client.next();
    let refused = Reply::Error("ERR Protocol error: expected '$', got '*'".into());
    assert!(reply.is_none() || reply == Some(refused), "{reply:?}");
    assert_eq!(server.client().run("PING"), Reply::Simple("PONG".into()));
}

#[test]
fn an_endless_line_is_cut_off() {
    let server = Server::start();
    let mut client = server.client();
    let _ = client.try_send(&vec![b'x'; 4 * 1024 * 1024]);
    let reply = client.next();
    let refused = Reply::Error("ERR Protocol error: too big inline request".into());
    assert!(reply.is_none() || reply == Some(refused), "{reply:?}");
}

#[test]
fn what_came_before_a_bad_frame_is_answered() {
    let server = Server::start();
    let mut client = server.client();
    client.send(b"*1\r\n$4\r\nPING\r\n*1\r\n$-1\r\n*1\r\n$4\r\nPING\r\n");
    assert_eq!(client.reply(), Reply::Simple("PONG".into()));
    assert!(client.reply().error().is_some());
    assert_eq!(client.next(), None);
}

#[test]
fn a_promised_gigabyte_takes_no_memory() {
    let server = Server::start();
    let before = server.memory_kib("VmRSS");
    let mut clients: Vec<Client> = (0..64).map(|_| server.client()).collect();
    for client in &mut clients {
        // Within the bound for one value, so the server waits for the rest.
        client.send(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$536870912\r\nabc");
    }
    assert_eq!(server.client().run("PING"), Reply::Simple("PONG".into()));
    let grown = server.memory_kib("VmRSS").saturating_sub(before);
    assert!(grown < 8 * 1024, "{grown} KiB for 64 promises");
}

#[test]
fn requests_that_are_arriving_share_a_budget() {
    let server = Server::builder()
        .arguments(&["--max-request-memory", "8MB"])
        .start();
    let mut client = server.client();
    let _ = client.try_send(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$33554432\r\n");
    let _ = client.try_send(&vec![b'x'; 32 * 1024 * 1024]);
    assert_eq!(client.next(), None);
    assert_eq!(server.client().run("PING"), Reply::Simple("PONG".into()));
}
