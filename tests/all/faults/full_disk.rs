//! A disk that takes nothing is told, and keeps the server from nothing but writing.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use ferrite_tests::{Reply, Server};
use rustix::process::Signal;

use crate::support::waiting::wait_until;

/// A server whose disk counts as full, with a write that it has acknowledged.
fn full(arguments: &[&str]) -> Server {
    let server = Server::builder()
        .arguments(&["--store-min-free-space", "1000000GB"])
        .arguments(&["--shutdown-timeout", "300ms"])
        .arguments(arguments)
        .start();
    let mut client = server.client();
    assert_eq!(client.run("SET a 1"), Reply::Simple("OK".into()));
    wait_until(&mut client, "aof_last_write_status:err");
    server
}

#[test]
fn it_is_told_everywhere() {
    let server = full(&["--metrics-address", "127.0.0.1:0"]);
    let mut client = server.client();
    let refused = client.run("SET a 2");
    assert!(
        refused.error().is_some_and(
            |text| text.starts_with("MISCONF ") && text.ends_with("No space left on device")
        ),
        "{refused:?}"
    );
    assert_eq!(client.run("GET a"), Reply::Bulk(b"1".to_vec()));
    let info = client.run("INFO persistence");
    let info = info.text().expect("text");
    for line in [
        "disk_error:No space left on device\r\n",
        "disk_waiting_commits:1\r\n",
        "disk_unsynced_commits:1\r\n",
    ] {
        assert!(info.contains(line), "{info}");
    }
    let mut metrics = TcpStream::connect(server.address_of("metrics")).expect("it listens");
    metrics
        .write_all(b"GET /metrics HTTP/1.1\r\n\r\n")
        .expect("taken");
    let mut page = String::new();
    metrics.read_to_string(&mut page).expect("text");
    assert!(page.contains("\nferrite_disk_failing 1\n"), "{page}");
    assert!(
        page.contains("\nferrite_disk_waiting_commits 1\n"),
        "{page}"
    );
    let log = server.log();
    assert!(
        log.contains("the disk does not take writes") && log.contains("No space left on device"),
        "{log}"
    );
}

#[test]
fn the_server_stops_and_says_what_is_lost() {
    for shutdown in [true, false] {
        let mut server = full(&[]);
        if shutdown {
            server.client().send(b"SHUTDOWN\r\n");
        } else {
            server.signal(Signal::TERM);
        }
        let status = server.wait();
        let log = server.log();
        assert_eq!(status.code(), Some(1), "{log}");
        assert!(
            log.contains("1 commits could not be written and are lost with the process"),
            "{log}"
        );
    }
}
