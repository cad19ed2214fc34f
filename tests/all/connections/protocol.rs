//! Requests and replies on the wire: both protocols, pipelines, inline commands, odd arrivals.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use ferrite_tests::{Reply, Server, encode};

fn text(text: &str) -> Reply {
    Reply::Simple(text.to_owned())
}

fn bulk(text: &str) -> Reply {
    Reply::Bulk(text.as_bytes().to_vec())
}

#[test]
fn resp2_is_spoken_until_hello_3() {
    let server = Server::start();
    let mut client = server.client();
    assert_eq!(client.run("PING"), text("PONG"));
    assert_eq!(client.run("GET nothing"), Reply::Null);
    let hello = client.run("HELLO");
    assert_eq!(hello.at("proto"), Some(&Reply::Int(2)));
    assert_eq!(hello.at("mode"), Some(&bulk("standalone")));

    let hello = client.hello3();
    assert!(matches!(hello, Reply::Map(_)), "{hello:?}");
    assert_eq!(hello.at("proto"), Some(&Reply::Int(3)));
    assert_eq!(hello.at("server"), Some(&bulk("ferrite")));
    assert_eq!(client.run("GET nothing"), Reply::Null);

    assert_eq!(
        client.run("HELLO 4"),
        Reply::Error("NOPROTO unsupported protocol version".into())
    );
    assert_eq!(
        client.run("HELLO x"),
        Reply::Error("ERR Protocol version is not an integer or out of range".into())
    );
    assert_eq!(
        client.run("HELLO 3 WHAT"),
        Reply::Error("ERR Syntax error in HELLO option 'WHAT'".into())
    );
}

#[test]
fn a_pipeline_is_answered_in_order() {
    const COMMANDS: usize = 20_000;
    let server = Server::start();
    let mut client = server.client();
    let mut requests = Vec::new();
    for number in 0..COMMANDS {
        requests.extend(encode(&["ECHO", &number.to_string()]));
    }
    // Sent from another thread, because both sides' buffers are smaller than the replies.
    let mut sender = client.try_clone();
    let sending = std::thread::spawn(move || sender.send(&requests));
    for number in 0..COMMANDS {
        assert_eq!(client.reply(), bulk(&number.to_string()));
    }
    sending.join().expect("the sender does not fail");
}

#[test]
fn requests_may_arrive_in_any_pieces() {
    let server = Server::start();
    let mut client = server.client();
    let requests = [encode(&["SET", "k", "a\r\n$b"]), encode(&["GET", "k"])].concat();
    for piece in requests.chunks(1) {
        client.send(piece);
    }
    assert_eq!(client.reply(), text("OK"));
    assert_eq!(client.reply(), bulk("a\r\n$b"));
    for size in [2, 3, 7, 31] {
        for piece in requests.chunks(size) {
            client.send(piece);
        }
        assert_eq!(client.reply(), text("OK"));
        assert_eq!(client.reply(), bulk("a\r\n$b"));
    }
}

#[test]
fn inline_commands_are_taken_as_typed() {
    let server = Server::start();
    let mut client = server.client();
    client.send(b"PING\r\n");
    assert_eq!(client.reply(), text("PONG"));
    client.send(b"\r\n\n  \nset k \"a \\x41\\n\"\n");
    assert_eq!(client.reply(), text("OK"));
    client.send(b"get 'k'\r\n");
    assert_eq!(client.reply(), bulk("a A\n"));
}

#[test]
fn an_array_of_nothing_passes_without_a_word() {
    let server = Server::start();
    let mut client = server.client();
    client.send(b"*0\r\n*1\r\n$4\r\nPING\r\n");
    assert_eq!(client.reply(), text("PONG"));
}

#[test]
fn payloads_are_binary_and_may_be_large() {
    let server = Server::start();
    let mut client = server.client();
    let value: Vec<u8> = (0..32 * 1024 * 1024_u32)
        .map(|index| (index % 251) as u8)
        .collect();
    assert_eq!(
        client.call(&[b"SET".as_slice(), b"\0k\xff", &value]),
        text("OK")
    );
    let reply = client.call(&[b"GET".as_slice(), b"\0k\xff"]);
    assert!(reply == Reply::Bulk(value), "the value came back changed");
}

#[test]
fn a_client_that_sends_without_a_pause_is_served_to_the_end() {
    const REQUESTS: usize = 100_000;
    let server = Server::start();
    let mut stream = TcpStream::connect(server.address()).expect("the server listens");
    let mut sender = stream.try_clone().expect("a second descriptor");
    // Far more than all buffers hold, so that there is always something to read.
    let requests = encode(&["ECHO", &"x".repeat(100)]).repeat(REQUESTS);
    let replies = format!("$100\r\n{}\r\n", "x".repeat(100)).len() * REQUESTS;
    let sending = std::thread::spawn(move || sender.write_all(&requests));
    let mut received = vec![0; replies];
    stream
        .read_exact(&mut received)
        .expect("every request is answered");
    let sent = sending.join().expect("no panic");
    sent.expect("the server takes all of it");
    // The server is not busy afterwards either.
    assert_eq!(server.client().run("PING"), text("PONG"));
}

#[test]
fn command_names_are_of_any_case() {
    let server = Server::start();
    let mut client = server.client();
    assert_eq!(client.run("pInG"), text("PONG"));
    assert_eq!(client.run("sEt k v"), text("OK"));
    assert_eq!(client.run("eChO hello"), bulk("hello"));
}

#[test]
fn an_unknown_command_is_an_error_and_nothing_more() {
    let server = Server::start();
    let mut client = server.client();
    let reply = client.run("NOSUCH a b");
    assert_eq!(
        reply,
        Reply::Error("ERR unknown command 'NOSUCH', with args beginning with: 'a' 'b' ".into())
    );
    let reply = client.run("GET");
    assert_eq!(
        reply,
        Reply::Error("ERR wrong number of arguments for 'get' command".into())
    );
    assert_eq!(client.run("PING"), text("PONG"));
}

#[test]
fn a_blocking_pop_waits_for_somebody_to_push() {
    let server = Server::start();
    let mut waiting = server.client();
    let mut other = server.client();
    waiting.send(b"SET before 1\r\nBLPOP queue 0\r\nPING\r\n");
    assert_eq!(waiting.reply(), text("OK"));
    assert_eq!(other.run("RPUSH queue job"), Reply::Int(1));
    assert_eq!(
        waiting.reply(),
        Reply::Array(vec![bulk("queue"), bulk("job")])
    );
    assert_eq!(waiting.reply(), text("PONG"));
    assert_eq!(waiting.run("BLPOP queue 0.01"), Reply::Null);
    // A client that disconnects while it waits takes no element.
    let mut gone = server.client();
    assert_eq!(gone.run("PING"), text("PONG"), "it is counted from here on");
    gone.send(b"BLPOP queue 0\r\n");
    drop(gone);
    crate::support::waiting::wait_until(&mut other, "connected_clients:2\r\n");
    assert_eq!(other.run("RPUSH queue next"), Reply::Int(1));
    assert_eq!(other.run("LLEN queue"), Reply::Int(1));
}
