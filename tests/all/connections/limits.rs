//! Many connections, silent ones, slow ones, and the limits on them.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use ferrite_tests::{Reply, Server};

use crate::support::waiting::wait_until;

fn pong() -> Reply {
    Reply::Simple("PONG".into())
}

#[test]
fn ten_thousand_half_open_connections_do_no_harm() {
    const CONNECTIONS: usize = 10_000;
    let server = Server::builder()
        .arguments(&["--stall-timeout", "1h"])
        .start();
    let before = server.memory_kib("VmRSS");
    let mut open: Vec<TcpStream> = Vec::with_capacity(CONNECTIONS);
    for index in 0..CONNECTIONS {
        let mut stream = TcpStream::connect(server.address())
            .unwrap_or_else(|error| panic!("connection {index}: {error}"));
        // A third of them sends nothing, a third one byte, a third half a request.
        let said: &[u8] = [&b""[..], b"*", b"*3\r\n$3\r\nSET\r\n$3\r\nke"][index % 3];
        stream.write_all(said).expect("a few bytes are taken");
        open.push(stream);
    }
    let mut client = server.client();
    assert_eq!(client.run("PING"), pong());
    let info = client.run("INFO clients");
    let info = info.text().expect("text");
    assert!(info.contains("connected_clients:10001"), "{info}");
    let grown = server.memory_kib("VmRSS").saturating_sub(before);
    assert!(
        grown < 40 * 1024,
        "{grown} KiB for {CONNECTIONS} half-open connections"
    );

    // They still work: the half request can be completed.
    open[2]
        .write_all(b"y\r\n$1\r\nv\r\n")
        .expect("the rest is taken");
    let mut reply = [0; 5];
    open[2].read_exact(&mut reply).expect("a reply");
    assert_eq!(&reply, b"+OK\r\n");
}

#[test]
fn connections_past_the_bound_are_told_so() {
    let server = Server::builder()
        .arguments(&["--max-connections", "2"])
        .start();
    let mut first = server.client();
    let mut second = server.client();
    assert_eq!(first.run("PING"), pong());
    assert_eq!(second.run("PING"), pong());
    let mut third = server.client();
    assert_eq!(
        third.reply(),
        Reply::Error("ERR max number of clients reached".into())
    );
    assert_eq!(third.next(), None);
    assert_eq!(first.run("QUIT"), Reply::Simple("OK".into()));
    assert_eq!(first.next(), None);
    wait_until(&mut second, "connected_clients:1\r\n");
    assert_eq!(server.client().run("PING"), pong());
}

#[test]
fn a_request_that_does_not_go_on_ends_its_connection() {
    let server = Server::builder()
        .arguments(&["--stall-timeout", "50ms"])
        .start();
    let mut silent = server.client();
    assert_eq!(silent.run("PING"), pong());
    let mut stalled = server.client();
    stalled.send(b"*2\r\n$4\r\nEC");
    assert_eq!(stalled.next(), None);
    assert_eq!(
        silent.run("PING"),
        pong(),
        "between requests there is no hurry"
    );
}

#[test]
fn an_idle_connection_is_ended_if_the_configuration_says_so() {
    let server = Server::builder()
        .arguments(&["--idle-timeout", "50ms"])
        .start();
    let mut client = server.client();
    assert_eq!(client.run("PING"), pong());
    assert_eq!(client.next(), None);
}

#[test]
fn a_client_that_takes_no_replies_is_cut_off() {
    let server = Server::builder()
        .arguments(&["--write-timeout", "100ms"])
        .start();
    let mut slow = server.client();
    let value = vec![b'v'; 1024 * 1024];
    assert_eq!(
        slow.call(&[b"SET".as_slice(), b"k", &value]),
        Reply::Simple("OK".into())
    );
    let before = server.memory_kib("VmRSS");
    // The replies are hundreds of megabytes, and the client reads none.
    let _ = slow.try_send(&b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n".repeat(400));
    let mut other = server.client();
    wait_until(&mut other, "connected_clients:1\r\n");
    let grown = server.memory_kib("VmHWM").saturating_sub(before);
    assert!(
        grown < 32 * 1024,
        "{grown} KiB held for a client that does not read"
    );
}

#[test]
fn an_address_that_others_reach_needs_authentication() {
    let log = Server::builder()
        .arguments(&["--bind", "0.0.0.0"])
        .try_start()
        .expect_err("it must refuse");
    assert!(
        log.contains("refusing to listen on 0.0.0.0:0 without authentication"),
        "{log}"
    );
}
