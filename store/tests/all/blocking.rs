//! Clients that wait, and the order in which they are served.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use ferrite_protocol::keyspace::{Keyspace as _, Mode, Transaction as _};
use ferrite_protocol::resp::Protocol;
use ferrite_store::{Blocked, Flow, Session};

use crate::client::{Client, Encoder, at_once, readable};

/// Runs a command that must block.
fn wait(client: &mut Client, command: &str) -> Blocked {
    let argv: Vec<&[u8]> = command.split(' ').map(str::as_bytes).collect();
    let mut out = Encoder::new(client.protocol);
    match client.store.execute(&mut client.session, &argv, &mut out) {
        Flow::Blocked(blocked) => blocked,
        Flow::Done | Flow::Retry(_) => panic!("{command} did not wait"),
    }
}

fn is_served(blocked: &Blocked) -> bool {
    let mut context = Context::from_waker(Waker::noop());
    pin!(blocked.served()).poll(&mut context) == Poll::Ready(())
}

fn finish(blocked: Blocked) -> String {
    let mut out = Encoder::new(Protocol::Resp2);
    blocked.finish(&mut Session::new(), &mut out);
    readable(&out.bytes)
}

#[test]
fn whoever_waits_longest_is_served_first_and_before_the_next_command() {
    let mut client = Client::new();
    let mut other = client.another();
    let first = wait(&mut other, "BLPOP a b 0");
    let second = wait(&mut other, "BRPOP b 1.5");
    assert_eq!(
        second.timeout().map(|timeout| timeout.as_millis()),
        Some(1_500)
    );
    assert_eq!(first.timeout(), None);
    client.expect(&[("RPUSH b 1", ":1"), ("EXISTS b", ":0")]);
    assert!(is_served(&first) && !is_served(&second));
    client.expect(&[("RPUSH b 2 3 4", ":3"), ("LRANGE b 0 -1", "*2 $1 2 $1 3")]);
    assert_eq!(finish(first), "*2 $1 b $1 1");
    assert_eq!(finish(second), "*2 $1 b $1 4");
    client.expect(&[("RPUSH a 5", ":1"), ("LLEN a", ":1")]);
}

#[test]
fn a_client_that_gives_up_is_passed_over() {
    let mut client = Client::new();
    let mut other = client.another();
    let gone = wait(&mut other, "BLPOP a 0");
    let late = wait(&mut other, "BLPOP a 0");
    let patient = wait(&mut other, "BLMPOP 0 1 a LEFT COUNT 2");
    drop(gone);
    assert_eq!(finish(late), "*-1");
    client.expect(&[("RPUSH a 1 2 3", ":3"), ("LRANGE a 0 -1", "*1 $1 3")]);
    assert_eq!(finish(patient), "*2 $1 a *2 $1 1 $1 2");
}

#[test]
fn what_is_moved_serves_the_next() {
    let mut client = Client::new();
    let mut other = client.another();
    let last = wait(&mut other, "BLPOP c 0");
    let middle = wait(&mut other, "BLMOVE b c LEFT RIGHT 0");
    let first = wait(&mut other, "BRPOPLPUSH a b 0");
    client.expect(&[("RPUSH a 1", ":1"), ("EXISTS a b c", ":0")]);
    assert_eq!(finish(first), "$1 1");
    assert_eq!(finish(middle), "$1 1");
    assert_eq!(finish(last), "*2 $1 c $1 1");
}

#[test]
fn a_wrong_destination_is_the_answer_and_a_wrong_type_is_waited_out() {
    let mut client = Client::new();
    let mut other = client.another();
    let moved = wait(&mut other, "BLMOVE a b LEFT RIGHT 0");
    let scored = wait(&mut other, "BZPOPMIN a 0");
    client.expect(&[("SET b text", "+OK"), ("RPUSH a 1", ":1"), ("LLEN a", ":1")]);
    assert!(finish(moved).starts_with("-WRONGTYPE"));
    assert!(!is_served(&scored));
    client.expect(&[
        ("DEL a", ":1"),
        ("ZADD a 2 two 1 one", ":2"),
        ("ZCARD a", ":1"),
    ]);
    assert_eq!(finish(scored), "*3 $1 a $3 one $1 1");
}

#[test]
fn transactions_serve_at_their_commit_and_do_not_wait_themselves() {
    let mut client = Client::new();
    let mut other = client.another();
    let blocked = wait(&mut other, "BLPOP a 0");
    let mut transaction = at_once(client.store.begin_exclusive(0, Mode::Write));
    for (command, reply) in [
        ("BLPOP b 0", "*-1"),
        ("RPUSH a 1 2", ":2"),
        ("BLMOVE c d LEFT LEFT 0", "$-1"),
    ] {
        let argv: Vec<&[u8]> = command.split(' ').map(str::as_bytes).collect();
        let mut out = Encoder::new(Protocol::Resp2);
        transaction.execute(&argv, &|_| true, &mut out);
        assert_eq!(readable(&out.bytes), reply);
    }
    assert!(!is_served(&blocked));
    assert!(transaction.commit().is_ok());
    assert_eq!(finish(blocked), "*2 $1 a $1 1");
    client.expect(&[("LRANGE a 0 -1", "*1 $1 2")]);
}

#[test]
fn renaming_copying_and_swapping_serve_too() {
    for command in [
        "RENAME source a",
        "COPY source a",
        "SORT source ALPHA STORE a",
        "SWAPDB 0 1",
    ] {
        let mut client = Client::new();
        let mut other = client.another();
        client.run("RPUSH source x");
        if command == "SWAPDB 0 1" {
            client.run("MOVE source 1");
            assert!(client.store.select(&mut client.session, b"1").is_ok());
            client.run("RENAME source a");
        }
        let blocked = wait(&mut other, "BLPOP a 0");
        client.run(command);
        assert_eq!(finish(blocked), "*2 $1 a $1 x", "{command}");
    }
}

#[test]
fn two_keys_pushed_at_once_serve_a_client_once() {
    for _ in 0..200 {
        let client = Client::new();
        let blocked = wait(&mut client.another(), "BLPOP a b 0");
        let (mut left, mut right) = (client.another(), client.another());
        std::thread::scope(|scope| {
            scope.spawn(|| left.run("RPUSH a 1"));
            scope.spawn(|| right.run("RPUSH b 1"));
        });
        assert!(is_served(&blocked));
        assert!(finish(blocked).starts_with("*2"));
        assert_eq!(client.another().run("EXISTS a b"), ":1");
    }
}
