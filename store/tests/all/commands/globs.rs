//! Patterns against the empty key, field and member: only a single star matches them.

use crate::client::{Client, readable};

fn reply(client: &mut Client, argv: &[&[u8]]) -> String {
    readable(&client.raw(argv))
}

/// The expected replies are those of Valkey 9.1.
#[test]
fn only_a_lone_star_shows_what_is_empty() {
    let mut client = Client::new();
    client.raw(&[b"SET", b"", b"1"]);
    client.raw(&[b"SET", b"a", b"1"]);
    client.expect(&[("KEYS **", "*1 $1 a"), ("KEYS ?*", "*1 $1 a")]);
    client.expect(&[("SCAN 0 MATCH **", "*2 $1 0 *1 $1 a")]);
    for command in [&[&b"KEYS"[..], b"*"][..], &[b"SCAN", b"0", b"MATCH", b"*"]] {
        let reply = reply(&mut client, command);
        assert!(
            reply.ends_with("*2 $0  $1 a") || reply.ends_with("*2 $1 a $0"),
            "{reply}"
        );
    }
    assert_eq!(reply(&mut client, &[b"KEYS", b""]), "*1 $0");
    assert_eq!(
        reply(&mut client, &[b"SCAN", b"0", b"MATCH", b""]),
        "*2 $1 0 *1 $0"
    );

    client.run("FLUSHALL");
    client.raw(&[b"HSET", b"h", b"", b"1", b"f", b"2"]);
    client.raw(&[b"SADD", b"s", b"", b"m"]);
    client.raw(&[b"ZADD", b"z", b"1", b"", b"2", b"m"]);
    client.expect(&[
        ("HSCAN h 0 MATCH **", "*2 $1 0 *2 $1 f $1 2"),
        ("SSCAN s 0 MATCH **", "*2 $1 0 *1 $1 m"),
        ("ZSCAN z 0 MATCH **", "*2 $1 0 *2 $1 m $1 2"),
    ]);
    for (command, key, all, empty) in [
        (&b"HSCAN"[..], &b"h"[..], 4, "*2 $1 0 *2 $0  $1 1"),
        (b"SSCAN", b"s", 2, "*2 $1 0 *1 $0"),
        (b"ZSCAN", b"z", 4, "*2 $1 0 *2 $0  $1 1"),
    ] {
        let shown = reply(&mut client, &[command, key, b"0", b"MATCH", b"*"]);
        assert!(shown.starts_with(&format!("*2 $1 0 *{all} ")), "{shown}");
        let shown = reply(&mut client, &[command, key, b"0", b"MATCH", b""]);
        assert_eq!(shown, empty);
    }
}

#[test]
fn a_pattern_that_takes_too_long_is_refused_everywhere() {
    let mut client = Client::new();
    client.raw(&[b"SET", b"k", b"1"]);
    client.raw(&[b"HSET", b"h", b"f", b"2"]);
    client.raw(&[b"SADD", b"s", b"m"]);
    client.raw(&[b"ZADD", b"z", b"1", b"m"]);
    let many = [b"*".as_slice(), &b"?".repeat(1_025), b"*"].concat();
    let long = vec![b'a'; (64 << 10) + 1];
    for (pattern, complaint) in [
        (&many, "ERR the pattern has 1025 parts"),
        (&long, "ERR the pattern has 65537 bytes"),
    ] {
        for argv in [
            &[&b"KEYS"[..], pattern][..],
            &[b"SCAN", b"0", b"MATCH", pattern],
            &[b"HSCAN", b"h", b"0", b"MATCH", pattern],
            &[b"SSCAN", b"s", b"0", b"MATCH", pattern],
            &[b"ZSCAN", b"z", b"0", b"MATCH", pattern],
        ] {
            let reply = reply(&mut client, argv);
            assert!(reply.contains(complaint), "{reply}");
        }
    }
}
