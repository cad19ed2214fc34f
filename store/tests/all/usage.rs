//! The counts of keys and deadlines, which every change updates.

use std::time::Duration;

use ferrite_protocol::keyspace::{Keyspace as _, Mode, Transaction as _};
use ferrite_store::{DatabaseUsage, DiskOptions, Durability, Store, StoreOptions};

use crate::client::{CLOSE_TIME, Client};

/// Keys, keys with a time to live, and the mean of their times to live, in database 0.
fn usage(client: &Client) -> (usize, usize, u64) {
    let DatabaseUsage {
        keys,
        expires,
        ttl_millis_mean,
    } = client.store.usage()[0];
    (keys, expires, ttl_millis_mean)
}

#[test]
fn every_way_to_change_a_deadline_is_counted() {
    let mut client = Client::new();
    assert_eq!(usage(&client), (0, 0, 0));
    for (command, expected) in [
        ("SET a 1", (1, 0, 0)),
        ("SET b 1 PX 1000", (2, 1, 1000)),
        ("SET c 1 PX 1000", (3, 2, 1000)),
        ("PEXPIRE a 4000", (3, 3, 2000)),
        ("PEXPIRE a 7000", (3, 3, 3000)),
        ("PERSIST a", (3, 2, 1000)),
        ("SET b 2 PX 3000", (3, 2, 2000)),
        ("SET b 3 KEEPTTL", (3, 2, 2000)),
        ("APPEND b 4", (3, 2, 2000)),
        ("SET b 5", (3, 1, 1000)),
        ("RENAME c d", (3, 1, 1000)),
        ("RENAME d b", (2, 1, 1000)),
        ("RENAME a b", (1, 0, 0)),
        ("SADD s m", (2, 0, 0)),
        ("PEXPIRE s 500", (2, 1, 500)),
        ("SREM s m", (1, 0, 0)),
        ("SET e 1 PX 100", (2, 1, 100)),
        ("DEL e", (1, 0, 0)),
        ("SET e 1 PX 100", (2, 1, 100)),
        ("PEXPIRE e 0", (1, 0, 0)),
        ("SET e 1 PX 100", (2, 1, 100)),
        ("SWAPDB 0 1", (0, 0, 0)),
        ("SWAPDB 0 1", (2, 1, 100)),
        ("MOVE e 1", (1, 0, 0)),
        ("SET f 1 PX 100", (2, 1, 100)),
        ("FLUSHDB", (0, 0, 0)),
    ] {
        client.run(command);
        assert_eq!(usage(&client), expected, "{command}");
    }
    assert_eq!(client.store.usage()[1].keys, 1);
}

#[test]
fn expiry_is_counted_when_the_keys_are_removed() {
    let mut client = Client::new();
    client.run("SET a 1 PX 100");
    client.run("SET b 1 PX 300");
    client.advance(101);
    assert_eq!(usage(&client), (2, 2, 99), "not removed yet");
    client.run("GET a");
    assert_eq!(usage(&client), (1, 1, 199));
    client.advance(1000);
    assert_eq!(usage(&client), (1, 1, 0), "never below zero");
    assert_eq!(client.store.expire_cycle(Duration::MAX).removed, 1);
    assert_eq!(usage(&client), (0, 0, 0));
}

#[test]
fn transactions_are_counted_when_they_commit() {
    let mut client = Client::new();
    client.run("HSET h f v");
    let mut transaction = client.store.begin(0, Mode::Write);
    assert_eq!(transaction.hash_set(b"h", b"g", b"v"), Ok(true));
    assert_eq!(transaction.expire(b"h", 500), Ok(true));
    assert_eq!(transaction.increment(b"n", 1), Ok(1));
    assert_eq!(transaction.expire(b"n", 1500), Ok(true));
    assert_eq!(usage(&client), (1, 0, 0));
    assert!(transaction.commit().is_ok());
    assert_eq!(usage(&client), (2, 2, 1000));
}

#[test]
fn what_is_read_from_disk_is_counted() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut client = Client::new();
    let disk = || DiskOptions {
        durability: Durability::EverySecond,
        free_bytes_min: 0,
        queue_bytes_max: 1 << 20,
        ..DiskOptions::new(directory.path())
    };
    client.store = Store::open(&StoreOptions::default(), disk()).expect("an empty directory");
    client.run("SET a 1");
    client.run("SET b 1 EX 1000");
    client.store.close(CLOSE_TIME).expect("a disk that works");
    client.store = Store::open(&StoreOptions::default(), disk()).expect("nobody else has it");
    let (keys, expires, ttl) = usage(&client);
    assert_eq!((keys, expires), (2, 1));
    assert!((900_000..=1_000_000).contains(&ttl), "{ttl}");
}
