//! Fields of hashes that expire.

use std::time::Duration;

use crate::client::{Client, START};

fn client() -> Client {
    let mut client = Client::new();
    client.expect(&[
        ("HSET h a 1 b 2 c 3", ":3"),
        ("HPEXPIRE h 100 FIELDS 1 a", "*1 :1"),
        ("HPEXPIRE h 200 FIELDS 1 b", "*1 :1"),
    ]);
    client
}

#[test]
fn an_expired_field_is_gone_for_every_command() {
    let mut client = client();
    client.advance(100);
    client.expect(&[("HGET h a", "$1 1"), ("HPTTL h FIELDS 1 a", "*1 :0")]);
    client.advance(1);
    client.expect(&[
        ("HGET h a", "$-1"),
        ("HLEN h", ":2"),
        ("HGETALL h", "*4 $1 b $1 2 $1 c $1 3"),
        ("HEXISTS h a", ":0"),
        ("HTTL h FIELDS 2 a b", "*2 :-2 :0"),
        ("HPTTL h FIELDS 2 b c", "*2 :99 :-1"),
        ("HSETNX h a again", ":1"),
        ("HPTTL h FIELDS 1 a", "*1 :-1"),
    ]);
    client.advance(100);
    client.expect(&[("HINCRBY h b 5", ":5"), ("HPTTL h FIELDS 1 b", "*1 :-1")]);
}

#[test]
fn a_hash_goes_with_its_last_field() {
    let mut client = client();
    client.expect(&[("HPEXPIRE h 300 FIELDS 1 c", "*1 :1")]);
    client.advance(301);
    client.expect(&[
        ("EXISTS h", ":0"),
        ("TYPE h", "+none"),
        ("DBSIZE", ":0"),
        ("RPUSH h x", ":1"),
    ]);
}

#[test]
fn the_expire_cycle_removes_fields_that_nobody_looks_at() {
    let mut client = client();
    client.advance(201);
    assert_eq!(
        client.store.expire_cycle(Duration::MAX).removed,
        0,
        "the key stays"
    );
    client.expect(&[("HLEN h", ":1"), ("DBSIZE", ":1")]);
    client.expect(&[("HPEXPIRE h 1 FIELDS 1 c", "*1 :1")]);
    client.advance(2);
    assert_eq!(client.store.expire_cycle(Duration::MAX).removed, 1);
    client.expect(&[("DBSIZE", ":0")]);
}

#[test]
fn what_becomes_of_a_deadline() {
    let mut client = client();
    client.expect(&[
        ("HPEXPIRETIME h FIELDS 1 a", &format!("*1 :{}", START + 100)),
        ("COPY h copy", ":1"),
        ("RENAME copy renamed", "+OK"),
        ("HPTTL renamed FIELDS 3 a b c", "*3 :100 :200 :-1"),
        ("HSET h a 2", ":0"),
        ("HINCRBYFLOAT h b 1", "$1 3"),
        ("HPTTL h FIELDS 2 a b", "*2 :-1 :200"),
        ("HDEL h b", ":1"),
        ("HSET h b 1", ":1"),
        ("HPTTL h FIELDS 1 b", "*1 :-1"),
    ]);
}
