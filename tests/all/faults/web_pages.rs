//! Requests that a web page has a browser send to the server's port.

use ferrite_tests::{Reply, Server};

#[test]
fn a_browsers_request_runs_nothing() {
    let server = Server::start();
    let attacks = [
        "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 16\r\n\r\nSET owned yes\r\n",
        "GET /?a=b HTTP/1.1\r\nAccept: */*\r\n\r\nSET owned yes\r\n",
        "PUT /a HTTP/1.1\r\nSET owned yes\r\n",
        "OPTIONS * HTTP/1.1\r\nSET owned yes\r\n",
        "COPY /a HTTP/1.1\r\nSET owned yes\r\n",
        "Accept: text/html\r\nhost: 127.0.0.1\r\nSET owned yes\r\n",
        "MULTI\r\npost x\r\nSET owned yes\r\nEXEC\r\n",
    ];
    for attack in attacks {
        let mut client = server.client();
        // Without the end of what it sends, so that only the server can close the connection.
        client.send(attack.as_bytes());
        while let Some(reply) = client.next() {
            assert_ne!(reply, Reply::Array(vec![Reply::Simple("OK".into())]));
        }
        let mut client = server.client();
        assert_eq!(client.run("GET owned"), Reply::Null, "{attack:?}");
    }
    let log = server.log();
    let lines = log
        .lines()
        .filter(|line| line.contains("a client sent HTTP"));
    assert_eq!(lines.count(), attacks.len(), "{log}");
}

#[test]
fn a_flood_of_them_does_not_fill_the_log() {
    let server = Server::start();
    for _ in 0..200 {
        let mut client = server.client();
        client.send(b"POST / HTTP/1.1\r\n");
        assert_eq!(client.next(), None);
    }
    let log = server.log();
    let lines = log
        .lines()
        .filter(|line| line.contains("a client sent HTTP"));
    // Ten a second; 200 connections take far less than ten seconds.
    assert!(lines.count() < 150, "{log}");
}

#[test]
fn words_of_http_are_data_in_arrays() {
    let server = Server::start();
    let mut client = server.client();
    let set = client.call(&["SET", "GET", "HTTP/1.1"]);
    assert_eq!(set, Reply::Simple("OK".into()));
    assert_eq!(client.run("GET GET"), Reply::Bulk(b"HTTP/1.1".to_vec()));
}
