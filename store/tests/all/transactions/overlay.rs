//! Overlays, against transactions on the data itself.
//!
//! One store plays the engine: what an overlay lacks is read from it by commands, and what the overlay
//! wrote is done to it by commands. Another store runs the same requests directly.

use std::collections::BTreeSet;

use ferrite_protocol::keyspace::{Keyspace as _, Mode, StoreError, Transaction as _};
use ferrite_store::{Held, Missing, Store, StoreOptions, Transaction};

use crate::client::{Client, START, readable};
use crate::differential::Generator;
use crate::transactions::savepoints::{content, elements, request, run};

/// Commands that need more than the keys they name, or another database.
const REFUSED: [&str; 6] = ["SELECT", "MOVE", "DBSIZE", "FLUSHDB", "FLUSHALL", "COPY"];

pub(crate) fn empty() -> Store {
    Store::in_memory(&StoreOptions::default())
}

/// Lays in a key as the engine holds it; a hash only by these fields, if there are any.
pub(crate) fn lay(
    engine: &mut Client,
    transaction: &mut Transaction,
    key: &[u8],
    fields: &[&[u8]],
) {
    let kind = engine.raw(&[b"TYPE", key]);
    let deadline = readable(&engine.raw(&[b"PEXPIRETIME", key]));
    let deadline: i64 = deadline.trim_start_matches(':').parse().expect("a number");
    let deadline = (deadline >= 0).then_some(deadline);
    let values: Vec<Option<Vec<u8>>> = fields
        .iter()
        .map(|field| {
            let reply = engine.raw(&[b"HGET", key, field]);
            (reply != b"$-1\r\n").then(|| elements(&reply).remove(0))
        })
        .collect();
    let pairs: Vec<(&[u8], Option<&[u8]>)> = fields
        .iter()
        .zip(&values)
        .map(|(field, value)| (*field, value.as_deref()))
        .collect();
    let whole;
    let held = match kind.as_slice() {
        b"+none\r\n" => Held::Nothing,
        b"+hash\r\n" if !fields.is_empty() => Held::Fields(&pairs),
        b"+string\r\n" => {
            whole = elements(&engine.raw(&[b"GET", key]));
            Held::Text(&whole[0])
        }
        _ => {
            whole = elements(&engine.raw(&[b"DUMP", key]));
            Held::Dumped(&whole[0])
        }
    };
    transaction.lay(key, held, deadline).expect("our own dump");
}

/// Brings the engine to the state of an overlay.
fn commit(engine: &mut Client, transaction: Transaction) {
    for words in transaction.into_commands().expect("one database") {
        let argv: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
        let reply = engine.raw(&argv);
        assert!(!reply.starts_with(b"-"), "{words:?}: {}", readable(&reply));
    }
}

/// The words of a reply in an order of their own: collections may be shown in any order.
pub(crate) fn sorted(reply: &str) -> Vec<&str> {
    let mut words: Vec<&str> = reply.split(' ').collect();
    words.sort_unstable();
    words
}

#[test]
fn an_overlay_does_what_a_transaction_does() {
    let mut laid = 0;
    for seed in 0..24 {
        let mut engine = Client::new();
        let mut direct = Client::new();
        let mut generator = Generator::new(seed);
        let mut random = fastrand::Rng::with_seed(seed);
        for _ in 0..24 {
            let requests: Vec<Vec<Vec<u8>>> = (0..random.usize(1..10))
                .map(|_| request(&mut generator))
                .filter(|argv| {
                    let name = String::from_utf8_lossy(&argv[0]).to_ascii_uppercase();
                    !REFUSED.contains(&name.as_str())
                })
                .collect();
            let mut expected = Vec::new();
            let mut transaction = direct.store.begin(0, Mode::Write);
            for argv in &requests {
                expected.push(run(&mut transaction, argv));
            }
            assert!(transaction.commit().is_ok());

            let gathers = random.bool();
            let mut keys: BTreeSet<Box<[u8]>> = BTreeSet::new();
            let replies = loop {
                let mut overlay = empty().begin_overlay(0, Mode::Write, START, gathers);
                for key in &keys {
                    lay(&mut engine, &mut overlay, key, &[]);
                    laid += 1;
                }
                let replies: Vec<String> = requests
                    .iter()
                    .map(|argv| run(&mut overlay, argv))
                    .collect();
                let missing = overlay.missing().to_vec();
                assert_eq!(overlay.is_lost(), !missing.is_empty());
                if missing.is_empty() {
                    commit(&mut engine, overlay);
                    break replies;
                }
                for missing in missing {
                    let Missing::Key(key) = missing else {
                        panic!("{missing:?} of a key that was laid in as a whole")
                    };
                    assert!(keys.insert(key), "seed {seed}: asked for again");
                }
            };
            for ((argv, reply), expected) in requests.iter().zip(&replies).zip(&expected) {
                let shown: Vec<String> = argv
                    .iter()
                    .map(|word| word.escape_ascii().to_string())
                    .collect();
                assert_eq!(
                    sorted(reply),
                    sorted(expected),
                    "seed {seed}: {}",
                    shown.join(" ")
                );
            }
            assert_eq!(content(&mut engine), content(&mut direct), "seed {seed}");
            for client in [&mut engine, &mut direct] {
                assert!(client.store.select(&mut client.session, b"0").is_ok());
            }
        }
    }
    assert!(laid > 1000, "only {laid} keys were laid in");
}

fn words(line: &str) -> Vec<Vec<u8>> {
    line.split(' ')
        .map(|word| word.as_bytes().to_vec())
        .collect()
}

pub(crate) fn said(transaction: &mut Transaction, line: &str) -> String {
    run(transaction, &words(line))
}

pub(crate) fn commands(transaction: Transaction) -> Vec<String> {
    let commands = transaction.into_commands().expect("one database");
    commands
        .iter()
        .map(|words| {
            let words: Vec<_> = words
                .iter()
                .map(|word| word.escape_ascii().to_string())
                .collect();
            words.join(" ")
        })
        .collect()
}

fn overlay_of(engine: &mut Client, keys: &[&str]) -> Transaction {
    let mut overlay = empty().begin_overlay(0, Mode::Write, START, false);
    for key in keys {
        lay(engine, &mut overlay, key.as_bytes(), &[]);
    }
    overlay
}

#[test]
fn small_changes_of_collections_are_small_commands() {
    let mut engine = Client::new();
    engine.run("RPUSH list a b c d e f");
    engine.run("HSET hash f 1 g 2");
    engine.run("ZADD zset 1 a 2 b");
    engine.run("SADD set a b");
    engine.run("SET text 1 PX 5000");
    for (lines, expected) in [
        (
            &["RPUSH list g", "LPOP list"][..],
            &["LTRIM list 1 -1", "RPUSH list g"][..],
        ),
        (&["LPUSH list z y"], &["LPUSH list z y"]),
        (
            &["RPOPLPUSH list list"],
            &["LTRIM list 0 4", "LPUSH list f"],
        ),
        (&["LSET list 2 x"], &["LSET list 2 x"]),
        (&["LTRIM list 1 2"], &["DEL list", "RPUSH list b c"]),
        (&["RPOP list 4"], &["LTRIM list 0 1"]),
        (
            &["HINCRBY hash f 4", "HDEL hash g"],
            &["HSET hash f 5", "HDEL hash g"],
        ),
        (&["HSET hash f 1"], &[]),
        (&["ZINCRBY zset 0.5 a"], &["ZADD zset 1.5e0 a"]),
        (&["SPOP set 2"], &["DEL set"]),
        (&["SMOVE set new a"], &["SREM set a", "SADD new a"]),
        (
            &["INCR text"],
            &["SET text 2", "PEXPIREAT text 1700000005000"],
        ),
        (&["PERSIST text"], &["SET text 1"]),
        (&["PEXPIRE list 10"], &["PEXPIREAT list 1700000000010"]),
        (&["DEL text", "DEL missing"], &["DEL text"]),
        (
            &["RENAME hash set"],
            &["DEL hash", "DEL set", "HSET set f 1 g 2"],
        ),
    ] {
        let keys = ["list", "hash", "zset", "set", "text", "new", "missing"];
        let mut overlay = overlay_of(&mut engine, &keys);
        for line in lines {
            let reply = said(&mut overlay, line);
            assert!(!reply.starts_with('-'), "{line}: {reply}");
        }
        assert_eq!(commands(overlay), expected, "{lines:?}");
    }
}

#[test]
fn fields_of_a_hash_do_without_the_rest() {
    let mut engine = Client::new();
    engine.run("HSET hash a 1 b 2 c 3");
    let partial = |engine: &mut Client, gathers: bool| {
        let mut overlay = empty().begin_overlay(0, Mode::Write, START, gathers);
        lay(engine, &mut overlay, b"hash", &[b"a", b"none"]);
        overlay
    };
    let mut overlay = partial(&mut engine, false);
    assert_eq!(
        overlay.hash_get(b"hash", b"a", <[u8]>::to_vec),
        Ok(Some(b"1".to_vec()))
    );
    assert_eq!(overlay.hash_get(b"hash", b"none", |_| ()), Ok(None));
    assert_eq!(overlay.hash_set(b"hash", b"none", b"9"), Ok(true));
    assert_eq!(overlay.hash_delete(b"hash", b"a"), Ok(true));
    assert_eq!(said(&mut overlay, "HMGET hash a none"), "*2 _ $1 9");
    assert_eq!(said(&mut overlay, "HDEL hash none"), ":1");
    assert!(overlay.missing().is_empty());
    // The hash has other fields, so it is not removed with the last known one.
    assert_eq!(commands(overlay), ["HDEL hash a"]);

    let mut overlay = partial(&mut engine, false);
    assert_eq!(
        overlay.hash_get(b"hash", b"b", |_| ()),
        Err(StoreError::Conflict)
    );
    assert!(overlay.is_lost());
    let field = |field: &[u8]| Missing::Field((*b"hash").into(), field.into());
    assert_eq!(overlay.missing(), [field(b"b")]);

    let mut overlay = partial(&mut engine, true);
    said(&mut overlay, "HMGET hash a b c");
    said(&mut overlay, "HINCRBY hash d 1");
    assert_eq!(overlay.missing(), [field(b"b"), field(b"c"), field(b"d")]);

    for whole in [
        "HGETALL hash",
        "HLEN hash",
        "HSCAN hash 0",
        "DUMP hash",
        "HKEYS hash",
    ] {
        let mut overlay = partial(&mut engine, true);
        said(&mut overlay, whole);
        assert_eq!(
            overlay.missing(),
            [Missing::Whole((*b"hash").into())],
            "{whole}"
        );
        assert!(overlay.is_lost());
    }
    let mut overlay = partial(&mut engine, false);
    assert_eq!(said(&mut overlay, "DEL hash"), ":1");
    assert_eq!(said(&mut overlay, "HSET hash z 1"), ":1");
    assert_eq!(said(&mut overlay, "HGETALL hash"), "%1 $1 z $1 1");
    assert_eq!(
        commands(overlay).last().map(String::as_str),
        Some("HSET hash z 1")
    );
}

#[test]
fn a_value_that_is_not_here_can_be_removed_replaced_and_timed() {
    let overlay = || {
        let mut overlay = empty().begin_overlay(0, Mode::Write, START, false);
        let held = Held::Opaque("LIMIT it is too large");
        overlay.lay(b"big", held, None).expect("no payload");
        overlay
    };
    for line in [
        "GET big",
        "APPEND big x",
        "HGET big f",
        "LPUSH big x",
        "TYPE big",
    ] {
        let mut overlay = overlay();
        assert_eq!(said(&mut overlay, line), "-LIMIT it is too large", "{line}");
        assert!(!overlay.is_lost());
        assert_eq!(commands(overlay), [""; 0]);
    }
    for (line, reply, expected) in [
        ("DEL big", ":1", &["DEL big"][..]),
        ("SET big x", "+OK", &["SET big x"]),
        ("EXISTS big", ":1", &[]),
        ("PEXPIRE big 7", ":1", &["PEXPIREAT big 1700000000007"]),
    ] {
        let mut overlay = overlay();
        assert_eq!(said(&mut overlay, line), reply);
        assert_eq!(commands(overlay), expected, "{line}");
    }
}

#[test]
fn an_overlay_removes_neither_all_keys_nor_knows_other_databases() {
    for line in ["FLUSHDB", "FLUSHALL"] {
        let mut overlay = empty().begin_overlay(0, Mode::Write, START, true);
        let reply = said(&mut overlay, line);
        assert!(reply.contains("cannot remove all keys"), "{line}: {reply}");
        assert_eq!(commands(overlay), [""; 0]);
    }
    let mut engine = Client::new();
    engine.run("SET a 1");
    for line in ["MOVE a 1", "COPY a b DB 1"] {
        let mut overlay = overlay_of(&mut engine, &["a"]);
        let reply = said(&mut overlay, line);
        assert!(
            reply.contains("only the selected database"),
            "{line}: {reply}"
        );
    }
}

#[test]
fn an_overlay_is_not_committed_here() {
    let store = empty();
    let mut overlay = store.begin_overlay(0, Mode::Write, START, false);
    assert_eq!(said(&mut overlay, "SET a 1"), "+OK");
    assert!(overlay.commit().is_err());
}
