//! Replies of single commands, as Redis 7.2 gives them.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use ferrite_store::{KeyEvent, Observer};

use crate::client::Client;

#[test]
fn strings_and_counters() {
    Client::new().expect(&[
        ("SET a 1", "+OK"),
        ("GET a", "$1 1"),
        ("INCRBY a 41", ":42"),
        ("SET a x NX", "$-1"),
        ("SET a x XX GET", "$2 42"),
        ("INCR a", "-ERR value is not an integer or out of range"),
        ("SET a 1 NX XX", "-ERR syntax error"),
        ("SET a 1 EX 0", "-ERR invalid expire time in 'set' command"),
        ("APPEND a yz", ":3"),
        ("SETRANGE a 5 !", ":6"),
        ("GETRANGE a 1 2", "$2 yz"),
        ("GETRANGE a -1 -9", "$0"),
        ("MSETNX b 1 a 2", ":0"),
        ("MSET b 1 c 2", "+OK"),
        ("MGET a b nothing c", "*4 $6 xyz\0\0! $1 1 $-1 $1 2"),
        ("GETDEL b", "$1 1"),
        ("EXISTS a a b", ":2"),
        (
            "LPUSH2 a",
            "-ERR unknown command 'LPUSH2', with args beginning with: 'a'",
        ),
    ]);
}

#[test]
fn expiry_follows_the_clock() {
    let mut client = Client::new();
    client.expect(&[
        ("SET a 1 PX 1500", "+OK"),
        ("TTL a", ":2"),
        ("PTTL a", ":1500"),
        ("EXPIRE a 10 GT", ":1"),
        ("EXPIRE a 5 GT", ":0"),
        ("EXPIRE a 1 NX", ":0"),
        ("EXPIRE missing 10", ":0"),
        ("TTL missing", ":-2"),
        ("SET b 1", "+OK"),
        ("TTL b", ":-1"),
    ]);
    client.advance(9_999);
    client.expect(&[("GET a", "$1 1"), ("PTTL a", ":1")]);
    client.advance(1);
    // It lives through the millisecond of its deadline.
    client.expect(&[("GET a", "$1 1"), ("PTTL a", ":0")]);
    client.advance(1);
    client.expect(&[
        ("GET a", "$-1"),
        ("DBSIZE", ":1"),
        ("EXPIRE b -1", ":1"),
        ("DBSIZE", ":0"),
    ]);
    // What would end now ends at once.
    let now = client.now.load(std::sync::atomic::Ordering::SeqCst);
    client.expect(&[
        ("SET a 1", "+OK"),
        ("PEXPIRE a 0", ":1"),
        ("EXISTS a", ":0"),
        (&format!("SET a 1 PXAT {now}"), "+OK"),
        ("EXISTS a", ":0"),
        ("SET a 1", "+OK"),
        (&format!("GETEX a PXAT {now}"), "$1 1"),
        ("EXISTS a", ":0"),
        ("HSET h f v", ":1"),
        ("HPEXPIRE h 0 FIELDS 1 f", "*1 :2"),
        ("EXISTS h", ":0"),
    ]);
}

#[test]
fn the_expire_cycle_gives_memory_back() {
    let mut client = Client::new();
    for i in 0..5_000 {
        client.run(&format!("SET mortal:{i} x PX {}", 1 + i % 10));
        client.run(&format!("SET eternal:{i} x"));
    }
    client.advance(6);
    assert_eq!(client.store.expire_cycle(Duration::MAX).removed, 2_500);
    assert_eq!(client.run("DBSIZE"), ":7500");
    client.advance(5);
    while client.store.expire_cycle(Duration::ZERO).more {}
    assert_eq!(client.run("DBSIZE"), ":5000");
}

/// Collects the names of events.
#[derive(Default)]
struct Names(Mutex<Vec<&'static str>>);

impl Observer for Names {
    fn observe(&self, event: KeyEvent<'_>) {
        self.0.lock().expect("no panic").push(event.name);
    }
}

#[test]
fn a_key_that_is_set_over_an_expired_one_has_expired_before() {
    let mut client = Client::new();
    let names = Arc::new(Names::default());
    client.store.set_observer(Arc::clone(&names) as _);
    client.store.report_events(true);
    client.run("SET a 1 PX 10");
    client.run("SET a 1 PX 10");
    client.advance(11);
    client.run("SET a 2");
    let told = names.0.lock().expect("no panic").clone();
    let set = ["set", "expire"];
    assert_eq!(told, [&set[..], &set[..], &["expired", "set"]].concat());
}

#[test]
fn what_changes_nothing_causes_no_event() {
    let mut client = Client::new();
    let names = Arc::new(Names::default());
    client.store.set_observer(Arc::clone(&names) as _);
    client.store.report_events(true);
    for (line, expected) in [
        ("SETBIT bits 14 1", &["setbit"][..]),
        ("SETBIT bits 14 1", &[]),
        ("SETBIT bits 3 0", &[]),
        ("SETBIT bits 200 0", &["setbit"]),
        ("SETBIT new 0 0", &["setbit"]),
        ("BITFIELD bits SET u8 8 2", &[]),
        ("BITFIELD bits INCRBY u8 8 0 GET u8 8", &[]),
        ("BITFIELD bits OVERFLOW FAIL INCRBY u8 8 300", &[]),
        ("BITFIELD bits SET i8 8 2 INCRBY i8 8 1", &["setbit"]),
        ("BITFIELD bits SET u8 1000 0", &["setbit"]),
        ("GETEX bits PERSIST", &[]),
        ("GETEX bits EX 100", &["expire"]),
        ("GETEX bits PERSIST", &["persist"]),
        ("GETEX bits PXAT 1", &["expired"]),
    ] {
        client.run(line);
        let told = std::mem::take(&mut *names.0.lock().expect("no panic"));
        assert_eq!(told, expected, "{line}");
    }
}

#[test]
fn a_random_key_is_a_live_one_however_many_have_expired() {
    let mut client = Client::new();
    for i in 0..5_000 {
        client.run(&format!("SET mortal:{i} x PX 10"));
    }
    client.run("SET eternal x");
    client.advance(11);
    for _ in 0..20 {
        assert_eq!(client.run("RANDOMKEY"), "$7 eternal");
    }
    client.run("DEL eternal");
    assert_eq!(client.run("RANDOMKEY"), "$-1");
}

#[test]
fn hashes() {
    Client::new().expect(&[
        ("HSET h a 1 b 2", ":2"),
        ("HSET h a 3 c 4", ":1"),
        ("HGETALL h", "*6 $1 a $1 3 $1 b $1 2 $1 c $1 4"),
        ("HINCRBY h a 7", ":10"),
        ("HMGET h a x", "*2 $2 10 $-1"),
        (
            "GET h",
            "-WRONGTYPE Operation against a key holding the wrong kind of value",
        ),
        ("HDEL h a b c", ":3"),
        ("EXISTS h", ":0"),
        (
            "HSET h a",
            "-ERR wrong number of arguments for 'hset' command",
        ),
    ]);
}

#[test]
fn keys_are_renamed_copied_and_moved() {
    Client::new().expect(&[
        ("HSET h a 1", ":1"),
        ("RENAME h g", "+OK"),
        ("RENAME h g", "-ERR no such key"),
        ("COPY g h", ":1"),
        ("COPY g h", ":0"),
        ("HSET h a 2", ":0"),
        ("HGET g a", "$1 1"),
        ("MOVE g 3", ":1"),
        ("MOVE g 3", ":0"),
        ("TYPE g", "+none"),
        ("TYPE h", "+hash"),
        ("KEYS ?", "*1 $1 h"),
        ("MOVE h 16", "-ERR DB index is out of range"),
        ("FLUSHALL", "+OK"),
        ("DBSIZE", ":0"),
    ]);
}
