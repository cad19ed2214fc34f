//! Records of the host: in a commit with keys or not at all, durable, and out of every command's reach.

use ferrite_protocol::error_chain::ErrorChain;
use ferrite_protocol::keyspace::{CommitError, Keyspace as _, Mode, Transaction as _};
use ferrite_protocol::record::Record;
use ferrite_store::{DiskOptions, Durability, Store, StoreOptions};

use crate::client::{CLOSE_TIME, Client};

fn put(store: &Store, changes: &[(&str, Option<&str>)]) {
    let mut transaction = store.begin(0, Mode::Read);
    for (name, value) in changes {
        transaction.change_record(name.as_bytes(), value.map(str::as_bytes));
    }
    let receipt = transaction.commit().expect("nothing conflicts");
    receipt.wait().expect("the disk works");
}

fn names(store: &Store, prefix: &str, after: &str, count: usize) -> Vec<String> {
    store
        .records_after(prefix.as_bytes(), after.as_bytes(), count)
        .into_iter()
        .map(|(name, _)| String::from_utf8_lossy(&name).into_owned())
        .collect()
}

#[test]
fn records_are_listed_in_the_order_of_their_names() {
    let store = Store::in_memory(&StoreOptions::default());
    put(
        &store,
        &[
            ("b/2", Some("x")),
            ("a/9", Some("")),
            ("b/1", Some("y")),
            ("c", Some("z")),
        ],
    );
    assert_eq!(names(&store, "b/", "", 9), ["b/1", "b/2"]);
    assert_eq!(names(&store, "b/", "b/1", 9), ["b/2"]);
    assert_eq!(names(&store, "", "", 2), ["a/9", "b/1"]);
    put(
        &store,
        &[("b/1", None), ("absent", None), ("b/2", Some("new"))],
    );
    assert_eq!(names(&store, "b/", "", 9), ["b/2"]);
    assert_eq!(store.record(b"b/2").as_deref(), Some(&b"new"[..]));
    assert_eq!(store.record(b"b/1"), None);
}

#[test]
fn no_command_reaches_records() {
    let mut client = Client::new();
    put(&client.store, &[("outbox/1", Some("message"))]);
    for (request, reply) in [
        ("DBSIZE", ":0"),
        ("KEYS *", "*0"),
        ("SCAN 0", "*2 $1 0 *0"),
        ("RANDOMKEY", "$-1"),
        ("GET outbox/1", "$-1"),
        ("SWAPDB 0 1", "+OK"),
        ("FLUSHALL", "+OK"),
    ] {
        assert_eq!(client.run(request), reply, "{request}");
    }
    assert!(client.run("SELECT 16").starts_with('-'));
    assert!(client.run("COPY a b DB 16").starts_with('-'));
    assert_eq!(client.store.usage().len(), 16);
    assert_eq!(names(&client.store, "", "", 9), ["outbox/1"]);
}

#[test]
fn a_conflict_leaves_neither_keys_nor_records() {
    let mut client = Client::new();
    client.run("SET key old");
    let mut transaction = client.store.begin(0, Mode::Write);
    assert_eq!(
        transaction.get(b"key", <[u8]>::to_vec),
        Ok(Some(b"old".to_vec()))
    );
    transaction.change_record(b"outbox/1", Some(b"message"));
    transaction.delete(b"key").expect("nothing has changed");
    client.run("SET key new");
    assert_eq!(transaction.commit().err(), Some(CommitError::Conflict));
    assert_eq!(client.run("GET key"), "$3 new");
    assert!(names(&client.store, "", "", 9).is_empty());
}

#[test]
fn of_two_that_need_a_record_only_one_replaces_it() {
    let store = Store::in_memory(&StoreOptions::default());
    put(&store, &[("dead/1", Some("x"))]);
    let mut retries = ["event/2", "event/3"].map(|name| {
        let mut transaction = store.begin(0, Mode::Write);
        transaction.require_record(b"dead/1");
        transaction.change_record(b"dead/1", None);
        transaction.change_record(name.as_bytes(), Some(b"x"));
        transaction
    });
    retries.reverse();
    let outcomes = retries.map(|transaction| transaction.commit().map(drop));
    assert_eq!(outcomes[0], Ok(()));
    let error = outcomes[1].as_ref().expect_err("it is gone");
    let error = ErrorChain(error).to_string();
    assert!(error.contains("retried or removed meanwhile"), "{error}");
    assert_eq!(names(&store, "", "", 9), ["event/3"]);
    let mut looks = store.begin(0, Mode::Read);
    looks.require_record(b"dead/1");
    assert!(looks.commit().is_err());
}

#[test]
fn a_rollback_takes_back_records_since_the_savepoint() {
    let store = Store::in_memory(&StoreOptions::default());
    let mut transaction = store.begin(0, Mode::Write);
    transaction.change_record(b"a", Some(b"1"));
    assert!(transaction.set_savepoint());
    transaction.change_record(b"a", Some(b"2"));
    transaction.change_record(b"b", Some(b"2"));
    transaction.roll_back();
    transaction
        .commit()
        .expect("nothing conflicts")
        .wait()
        .expect("no disk");
    assert_eq!(
        store.records_after(b"", b"", 9),
        [(b"a"[..].into(), b"1"[..].into())]
    );
}

#[test]
fn records_survive_restarts_and_backups() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let (data, copy) = (folder.path().join("data"), folder.path().join("copy"));
    let open = |directory: &std::path::Path| {
        let disk = DiskOptions {
            durability: Durability::Always,
            free_bytes_min: 1 << 20,
            ..DiskOptions::new(directory)
        };
        Store::open(&StoreOptions::default(), disk).expect("a data directory")
    };
    let long = "n".repeat(40_000);
    let store = open(&data);
    put(
        &store,
        &[
            ("a", Some("1")),
            ("b", Some("2")),
            ("c", None),
            (&long, Some("3")),
        ],
    );
    put(&store, &[("b", None), ("a", Some("4"))]);
    let expected: [Record; 2] = [
        (b"a"[..].into(), b"4"[..].into()),
        (long.as_bytes().into(), b"3"[..].into()),
    ];
    store.back_up(&copy).expect("a copy");
    store.close(CLOSE_TIME).expect("a disk that works");
    drop(store);
    for directory in [&data, &copy] {
        assert_eq!(open(directory).records_after(b"", b"", 9), expected);
    }
}
