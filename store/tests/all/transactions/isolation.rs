//! Transactions against each other and against plain commands.

use std::thread;

use ferrite_protocol::budget::{ACCESS, ELEMENT};
use ferrite_protocol::keyspace::{
    CommitError, Keyspace as _, Mode, SetCondition, SetExpiry, StoreError, Transaction as _,
};
use ferrite_store::Transaction;

use crate::client::{Client, Encoder, at_once, readable};

fn number(transaction: &mut Transaction, key: &str) -> Result<i64, StoreError> {
    let parse = |bytes: &[u8]| std::str::from_utf8(bytes).ok()?.parse().ok();
    Ok(transaction
        .get(key.as_bytes(), parse)?
        .flatten()
        .unwrap_or(0))
}

fn put(transaction: &mut Transaction, key: &str, value: i64) -> Result<bool, StoreError> {
    let value = value.to_string();
    transaction.set(
        key.as_bytes(),
        value.as_bytes(),
        SetCondition::Always,
        SetExpiry::None,
    )
}

#[test]
fn writes_are_visible_inside_at_once_and_outside_after_the_commit() {
    let mut client = Client::new();
    let mut transaction = client.store.begin(0, Mode::Write);
    assert_eq!(transaction.increment(b"n", 5), Ok(5));
    assert_eq!(transaction.hash_set(b"h", b"f", b"v"), Ok(true));
    assert_eq!(
        transaction.hash_get(b"h", b"f", <[u8]>::to_vec),
        Ok(Some(b"v".to_vec()))
    );
    assert_eq!(client.run("EXISTS n h"), ":0");
    assert!(transaction.commit().is_ok());
    client.expect(&[("GET n", "$1 5"), ("HGET h f", "$1 v")]);
}

#[test]
fn a_dropped_transaction_leaves_nothing() {
    let mut client = Client::new();
    client.run("HSET h f 1");
    let mut transaction = client.store.begin(0, Mode::Write);
    assert_eq!(transaction.hash_set(b"h", b"f", b"2"), Ok(false));
    assert_eq!(transaction.delete(b"h"), Ok(true));
    assert_eq!(put(&mut transaction, "n", 1), Ok(true));
    drop(transaction);
    client.expect(&[("HGETALL h", "*2 $1 f $1 1"), ("EXISTS n", ":0")]);
}

#[test]
fn the_work_of_a_commit_is_known_before_it() {
    let mut client = Client::new();
    client.run("SADD members a b c");
    let mut transaction = client.store.begin(0, Mode::Write);
    assert_eq!(transaction.commit_work(), 0);
    for key in 0..100 {
        assert_eq!(put(&mut transaction, &key.to_string(), key), Ok(true));
    }
    assert_eq!(transaction.commit_work(), 100 * ACCESS);
    for field in 0..50 {
        let field = field.to_string();
        let new = transaction.hash_set(b"hash", field.as_bytes(), b"v");
        assert_eq!(new, Ok(true));
    }
    let work = transaction.commit_work();
    assert!(
        (101 * ACCESS..=101 * ACCESS + 51 * ELEMENT).contains(&work),
        "{work}"
    );
    assert!(transaction.commit().is_ok());
}

#[test]
fn a_changed_read_conflicts_also_for_absent_keys_and_key_ranges() {
    let all = |_: &[u8]| true;
    let reads: [&[&[u8]]; 4] = [
        &[b"GET", b"a"],
        &[b"GET", b"absent"],
        &[b"KEYS", b"*"],
        &[b"DBSIZE"],
    ];
    for read in reads {
        let mut client = Client::new();
        client.run("SET a 1");
        let mut transaction = client.store.begin(0, Mode::Write);
        transaction.execute(read, &all, &mut Encoder::new(client.protocol));
        assert_eq!(put(&mut transaction, "result", 1), Ok(true));
        match read[0] {
            b"GET" => client.raw(&[b"SET", read[1], b"2"]),
            _ => client.raw(&[b"SET", b"another", b"2"]),
        };
        assert_eq!(
            transaction.commit().err(),
            Some(CommitError::Conflict),
            "{read:?}"
        );
        assert_eq!(client.run("EXISTS result"), ":0");
    }
}

#[test]
fn unrelated_changes_do_not_conflict() {
    let mut client = Client::new();
    client.run("SET a 1");
    let mut transaction = client.store.begin(0, Mode::Write);
    assert_eq!(number(&mut transaction, "a"), Ok(1));
    for i in 0..1_000 {
        client.run(&format!("SET other:{i} x"));
    }
    assert_eq!(number(&mut transaction, "other"), Ok(0));
    assert_eq!(put(&mut transaction, "b", 2), Ok(true));
    assert!(transaction.commit().is_ok());
}

#[test]
fn a_reader_never_sees_half_of_a_commit() {
    let mut client = Client::new();
    client.run("MSET a 0 b 0");
    let mut transaction = client.store.begin(0, Mode::Write);
    assert_eq!(number(&mut transaction, "a"), Ok(0));
    client.run("MSET a 1 b 1");
    // The read of `a` is no longer valid beside the new `b`.
    assert_eq!(number(&mut transaction, "b"), Err(StoreError::Conflict));
    assert_eq!(transaction.commit().err(), Some(CommitError::Conflict));
}

#[test]
fn what_an_exclusive_transaction_has_read_stays_until_it_ends() {
    let mut client = Client::new();
    client.run("MSET a 1 b 1");
    let mut exclusive = at_once(client.store.begin_exclusive(0, Mode::Write));
    assert_eq!(number(&mut exclusive, "a"), Ok(1));
    client.expect(&[
        ("GET a", "$1 1"),
        ("SET a 2", "(retry)"),
        ("FLUSHALL", "(retry)"),
        ("SET b 2", "+OK"),
    ]);
    let mut other = client.store.begin(0, Mode::Write);
    assert_eq!(put(&mut other, "a", 3), Ok(true));
    assert_eq!(other.commit().err(), Some(CommitError::Conflict));
    assert_eq!(number(&mut exclusive, "b"), Ok(2));
    assert_eq!(put(&mut exclusive, "a", 10), Ok(true));
    assert!(exclusive.commit().is_ok());
    client.expect(&[("GET a", "$2 10"), ("SET a 2", "+OK")]);
}

#[test]
fn concurrent_transfers_keep_the_sum_and_readers_see_it() {
    const ACCOUNTS: usize = 5;
    const ROUNDS: usize = 3_000;
    let mut client = Client::new();
    for i in 0..ACCOUNTS {
        client.run(&format!("SET account:{i} 100"));
    }
    thread::scope(|scope| {
        for seed in 0..4 {
            let store = client.store.clone();
            scope.spawn(move || {
                let mut random = fastrand::Rng::with_seed(seed);
                let mut done = 0;
                while done < ROUNDS {
                    let (from, to) = (random.usize(..ACCOUNTS), random.usize(..ACCOUNTS));
                    let mut transaction = store.begin(0, Mode::Write);
                    let transfer = |transaction: &mut Transaction| {
                        let (from, to) = (format!("account:{from}"), format!("account:{to}"));
                        let balance = number(transaction, &from)?;
                        put(transaction, &from, balance - 1)?;
                        let balance = number(transaction, &to)?;
                        put(transaction, &to, balance + 1)
                    };
                    if transfer(&mut transaction).is_ok() && transaction.commit().is_ok() {
                        done += 1;
                    }
                    let mut reader = store.begin(0, Mode::Read);
                    let sum: Result<i64, StoreError> = (0..ACCOUNTS)
                        .map(|i| number(&mut reader, &format!("account:{i}")))
                        .sum();
                    if let Ok(sum) = sum {
                        assert_eq!(sum, 500);
                    }
                }
            });
        }
    });
    let sum: i64 = (0..ACCOUNTS)
        .map(|i| readable(&client.raw(&[b"GET", format!("account:{i}").as_bytes()])))
        .map(|reply| {
            reply
                .split(' ')
                .nth(1)
                .and_then(|n| n.parse::<i64>().ok())
                .unwrap_or(0)
        })
        .sum();
    assert_eq!(sum, 500);
}

#[test]
fn the_latest_is_read_without_a_conflict_and_without_a_write() {
    let all = |_: &[u8]| true;
    let mut client = Client::new();
    client.run("SET a 1");
    let mut transaction = client.store.begin(0, Mode::ReadLatest);
    assert_eq!(number(&mut transaction, "a"), Ok(1));
    let keys = |transaction: &mut Transaction| {
        let mut reply = Encoder::new(client.protocol);
        transaction.execute(&[b"SCAN", b"0", b"COUNT", b"100"], &all, &mut reply);
        String::from_utf8_lossy(&reply.bytes)
            .matches("key:")
            .count()
    };
    assert_eq!(keys(&mut transaction), 0);
    let mut writer = client.store.begin(0, Mode::Write);
    assert_eq!(put(&mut writer, "a", 2), Ok(true));
    assert_eq!(put(&mut writer, "key:1", 1), Ok(true));
    assert!(writer.commit().is_ok());
    // Neither read holds any more, and each shows what is there now.
    assert_eq!(number(&mut transaction, "a"), Ok(2));
    assert_eq!(keys(&mut transaction), 1);
    assert!(put(&mut transaction, "a", 3).is_err());
    assert!(transaction.commit().is_ok());
    client.expect(&[("GET a", "$1 2")]);
}
