//! Odd and huge input: refused with Redis's errors, or served.

use ferrite_store::{Limits, Store, StoreOptions};

use crate::client::{Client, readable};

#[test]
fn strings_do_not_grow_beyond_their_bound() {
    let options = StoreOptions {
        limits: Limits {
            string_bytes_max: 100,
        },
        ..StoreOptions::default()
    };
    let mut client = Client::new();
    client.store = Store::in_memory(&options);
    let refused = "-ERR string exceeds maximum allowed size (proto-max-bulk-len)";
    client.expect(&[
        ("SETRANGE a 99 x", ":100"),
        ("SETRANGE a 100 x", refused),
        ("SETRANGE a 9223372036854775807 x", refused),
        ("APPEND a x", refused),
        ("STRLEN a", ":100"),
        ("SETBIT b 799 1", ":0"),
        (
            "SETBIT b 800 1",
            "-ERR bit offset is not an integer or out of range",
        ),
        ("STRLEN b", ":100"),
    ]);
}

#[test]
fn a_hundred_thousand_arguments_are_served() {
    let mut client = Client::new();
    let numbers: Vec<String> = (0..50_000).map(|i| i.to_string()).collect();
    let pairs: Vec<&[u8]> = numbers.iter().flat_map(|n| [n.as_bytes(); 2]).collect();
    let singles: Vec<&[u8]> = numbers.iter().map(String::as_bytes).collect();
    let mut run = |head: &[&[u8]], tail: &[&[u8]]| readable(&client.raw(&[head, tail].concat()));
    assert_eq!(run(&[b"MSET"], &pairs), "+OK");
    assert!(run(&[b"MGET"], &singles).starts_with("*50000 "));
    assert_eq!(run(&[b"ZADD", b"zset"], &pairs), ":50000");
    assert_eq!(run(&[b"HSET", b"hash"], &pairs), ":50000");
    assert_eq!(run(&[b"SADD", b"set"], &singles), ":50000");
    assert_eq!(run(&[b"RPUSH", b"list"], &singles), ":50000");
    assert_eq!(run(&[b"SINTERCARD", b"2", b"set", b"set"], &[]), ":50000");
    assert_eq!(run(&[b"LREM", b"list", b"0", b"49999"], &[]), ":1");
    assert_eq!(run(&[b"ZRANK", b"zset", b"49999"], &[]), ":49999");
    assert_eq!(run(&[b"DEL"], &singles), ":50000");
    client.store.watch(&mut client.session, &singles);
    assert!(!client.store.watch_failed(&client.session));
}

#[test]
fn empty_names_and_huge_counts_are_what_they_say() {
    let mut client = Client::new();
    assert_eq!(client.raw(&[b"SET", b"", b""]), b"+OK\r\n");
    assert_eq!(client.raw(&[b"GET", b""]), b"$0\r\n\r\n");
    assert_eq!(client.raw(&[b"HSET", b"h", b"", b""]), b":1\r\n");
    assert_eq!(client.raw(&[b"HGET", b"h", b""]), b"$0\r\n\r\n");
    let maximum = i64::MAX.to_string();
    client.expect(&[
        ("SADD s a", ":1"),
        ("ZADD z nan a", "-ERR value is not a valid float"),
        ("ZADD z inf a", ":1"),
        (
            "ZINCRBY z -inf a",
            "-ERR resulting score is not a number (NaN)",
        ),
        (
            "SRANDMEMBER s -9223372036854775807",
            "-ERR value is out of range",
        ),
        ("SCAN 18446744073709551615", "*2 $1 0 *0"),
        ("SCAN 18446744073709551616", "-ERR invalid cursor"),
        ("SCAN x", "-ERR invalid cursor"),
    ]);
    assert_eq!(client.run(&format!("SPOP s {maximum}")), "*1 $1 a");
    assert_eq!(client.run(&format!("LPOP l {maximum}")), "*-1");
    assert_eq!(
        client.run(&format!("HSCAN h 0 COUNT {maximum}")),
        "*2 $1 0 *2 $0  $0"
    );
    assert_eq!(
        client.run(&format!("LMPOP {maximum} a LEFT")),
        "-ERR syntax error"
    );
    assert_eq!(
        client.run(&format!("EXPIRE s {maximum}")),
        "-ERR invalid expire time in 'expire' command"
    );
}
