//! Events with values, as a sink gets them, and the records that it keeps in the commit.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ferrite_protocol::events::{EventSink, EventValue, KeyspaceEvent};
use ferrite_protocol::keyspace::{
    CommitError, Keyspace as _, Mode, SetCondition, SetExpiry, Transaction as _,
};
use ferrite_protocol::record::Record;
use ferrite_protocol::resp::Protocol;
use ferrite_store::{Flow, Session};
use parking_lot::Mutex;

use crate::client::{Client, Encoder};

/// Wants the keys that begin with `k`, and keeps a record of each event, named by its number.
#[derive(Default)]
struct Sink {
    records: Mutex<Vec<Record>>,
    committed: Mutex<Vec<Record>>,
    /// Records that transactions have set.
    set: Mutex<Vec<Record>>,
    full: AtomicBool,
}

fn shown(value: Option<&dyn EventValue>) -> String {
    let Some(value) = value else {
        return "-".to_owned();
    };
    let bytes = value
        .to_bytes(100)
        .map(|bytes| bytes.escape_ascii().to_string());
    format!(
        "{}:{}",
        value.type_name(),
        bytes.unwrap_or_else(|| "large".to_owned())
    )
}

impl EventSink for Sink {
    fn wants(&self, _: u32, key: &[u8]) -> bool {
        key.starts_with(b"k")
    }

    fn record(&self, event: &KeyspaceEvent<'_>, into: &mut Vec<Record>) {
        let mut records = self.records.lock();
        let name = format!("event/{:04}", records.len());
        let value = format!(
            "{}@{} {} {} -> {} depth {}",
            event.key.escape_ascii(),
            event.database,
            event.name,
            shown(event.old),
            shown(event.new),
            event.depth
        );
        let record: Record = (name.into_bytes().into(), value.into_bytes().into());
        records.push(record.clone());
        into.push(record);
    }

    fn committed(&self, mut records: Vec<Record>) {
        self.committed.lock().append(&mut records);
    }

    fn record_set(&self, name: &[u8], value: &[u8]) {
        self.set.lock().push((name.into(), value.into()));
    }

    fn take_in(&self, _: Vec<Record>) {}

    fn forget(&self, _: &[Box<[u8]>]) {}

    fn refuse(&self, _: &KeyspaceEvent<'_>, _: &str) {}

    fn lose(&self, _: &Record, _: &str) {}

    fn full_reason(&self) -> String {
        String::new()
    }

    fn is_full(&self) -> bool {
        self.full.load(Ordering::Relaxed)
    }
}

fn observed() -> (Client, Arc<Sink>) {
    let client = Client::new();
    let sink = Arc::new(Sink::default());
    assert!(
        client
            .store
            .set_event_sink(Arc::clone(&sink) as Arc<dyn EventSink>)
    );
    client.store.send_events(true);
    (client, sink)
}

/// Returns the events so far as they are kept in the store, which are those that the sink was told.
fn kept(client: &Client, sink: &Sink) -> Vec<String> {
    let records = client.store.records_after(b"event/", b"", 1000);
    assert_eq!(records, *sink.committed.lock());
    let values = records.into_iter().map(|(_, value)| value);
    values
        .map(|value| String::from_utf8_lossy(&value).into_owned())
        .collect()
}

#[test]
fn every_change_of_a_wanted_key_is_told_with_its_values() {
    let (mut client, sink) = observed();
    for line in [
        "SET k1 a",
        "SET other a",
        "APPEND k1 b",
        "SET k1 c PX 1000",
        "PERSIST k1",
        "DEL k1",
        "RPUSH k2 x y",
        "LPOP k2",
        "LPOP k2",
        "HSET k3 f 1",
        "HINCRBY k3 f 2",
        "SADD k4 m",
        "ZADD k5 1.5 m",
        "MSET k6 1 other 2 k7 3",
        "RENAME k6 k8",
    ] {
        assert!(!client.run(line).starts_with('-'), "{line}");
    }
    client
        .store
        .select(&mut client.session, b"2")
        .expect("a database");
    client.run("INCR k1");
    client.run("DEL absent k1");
    let list = r"list:*2\r\n$1\r\nx\r\n$1\r\ny\r\n";
    let rest = r"list:*1\r\n$1\r\ny\r\n";
    let hash = |value| format!(r"hash:*2\r\n$1\r\nf\r\n$1\r\n{value}\r\n");
    let expected = [
        "k1@0 set - -> string:a",
        "k1@0 append string:a -> string:ab",
        "k1@0 set string:ab -> string:c",
        "k1@0 expire string:ab -> string:c",
        "k1@0 persist string:c -> string:c",
        "k1@0 del string:c -> -",
        &format!("k2@0 rpush - -> {list}"),
        &format!("k2@0 lpop {list} -> {rest}"),
        &format!("k2@0 lpop {rest} -> -"),
        &format!("k2@0 del {rest} -> -"),
        &format!("k3@0 hset - -> {}", hash(1)),
        &format!("k3@0 hincrby {} -> {}", hash(1), hash(3)),
        r"k4@0 sadd - -> set:*1\r\n$1\r\nm\r\n",
        r"k5@0 zadd - -> zset:*2\r\n$1\r\nm\r\n$3\r\n1.5\r\n",
        "k6@0 set - -> string:1",
        "k7@0 set - -> string:3",
        "k6@0 rename_from string:1 -> -",
        "k8@0 rename_to - -> string:1",
        "k1@2 incrby - -> string:1",
        "k1@2 del string:1 -> -",
    ];
    let expected: Vec<String> = expected
        .iter()
        .map(|event| format!("{event} depth 0"))
        .collect();
    assert_eq!(kept(&client, &sink), expected);
}

#[test]
fn a_key_that_expires_brings_its_value() {
    let (mut client, sink) = observed();
    for line in ["SET k1 a PX 10", "SET k2 b PX 10", "SET k3 c PX 10"] {
        client.run(line);
    }
    client.now.fetch_add(20, Ordering::Relaxed);
    // By a read, by a write, and by the search for what has expired.
    client.run("GET k1");
    client.run("SET k2 d");
    let cycle = client.store.expire_cycle(Duration::MAX);
    assert_eq!(cycle.removed, 1);
    let events = kept(&client, &sink);
    let of = |key: &str| -> Vec<&str> {
        let events = events.iter().map(String::as_str);
        events
            .filter(|event| event.starts_with(key))
            .skip(2)
            .collect()
    };
    assert_eq!(of("k1"), ["k1@0 expired string:a -> - depth 0"]);
    assert_eq!(of("k3"), ["k3@0 expired string:c -> - depth 0"]);
    let overwritten = of("k2");
    assert_eq!(
        overwritten.last(),
        Some(&"k2@0 set - -> string:d depth 0"),
        "{overwritten:?}"
    );
}

#[test]
fn a_transaction_tells_its_events_at_its_commit_alone() {
    let (mut client, sink) = observed();
    client.run("SET k1 a");
    let mut transaction = client.store.begin(0, Mode::Write);
    transaction.set_event_depth(3);
    transaction.execute(
        &[b"SET", b"k1", b"b"],
        &|_| true,
        &mut Encoder::new(Protocol::Resp2),
    );
    transaction.execute(
        &[b"APPEND", b"k1", b"c"],
        &|_| true,
        &mut Encoder::new(Protocol::Resp2),
    );
    assert!(transaction.set_savepoint());
    transaction.execute(
        &[b"DEL", b"k1"],
        &|_| true,
        &mut Encoder::new(Protocol::Resp2),
    );
    let mut names = Vec::new();
    assert_eq!(
        transaction.events(1, &mut |event| names.push(event.name.to_owned())),
        3
    );
    assert_eq!(names, ["append", "del"]);
    transaction.roll_back();
    assert_eq!(transaction.events(0, &mut |_| {}), 2);
    assert_eq!(kept(&client, &sink).len(), 1);
    transaction
        .commit()
        .expect("nothing conflicts")
        .wait()
        .expect("no disk");
    assert_eq!(
        kept(&client, &sink)[1..],
        [
            "k1@0 set string:a -> string:b depth 3",
            "k1@0 append string:b -> string:bc depth 3"
        ]
    );
    let mut lost = client.store.begin(0, Mode::Write);
    lost.execute(
        &[b"APPEND", b"k1", b"d"],
        &|_| true,
        &mut Encoder::new(Protocol::Resp2),
    );
    client.run("DEL k1");
    assert_eq!(lost.commit().err(), Some(CommitError::Conflict));
    assert_eq!(kept(&client, &sink).len(), 4);
}

#[test]
fn writes_wait_while_the_sink_is_full() {
    let (client, sink) = observed();
    let mut session = Session::new();
    let mut out = Encoder::new(Protocol::Resp2);
    sink.full.store(true, Ordering::Relaxed);
    let flow = client
        .store
        .execute(&mut session, &[b"SET", b"k1", b"a"], &mut out);
    let Flow::Retry(retry) = flow else {
        panic!("it did not wait: {flow:?}");
    };
    assert!(matches!(
        client
            .store
            .execute(&mut session, &[b"GET", b"k1"], &mut out),
        Flow::Done
    ));
    // What triggers write themselves is not held up; what calls of clients write is refused.
    for (depth, commits) in [(0, false), (1, true)] {
        let mut transaction = client.store.begin(0, Mode::Write);
        transaction.set_event_depth(depth);
        transaction.execute(&[b"SET", b"k2", b"a"], &|_| true, &mut out);
        assert_eq!(transaction.commit().is_ok(), commits);
    }
    sink.full.store(false, Ordering::Relaxed);
    client.store.events_drained();
    retry.wait();
    let flow = client
        .store
        .execute(&mut session, &[b"SET", b"k1", b"a"], &mut out);
    assert!(matches!(flow, Flow::Done));
}

#[test]
fn records_of_a_transaction_are_told_once_it_commits() {
    let (client, sink) = observed();
    let mut dropped = client.store.begin(0, Mode::Write);
    dropped.change_record(b"outbox/1", Some(b"never"));
    drop(dropped);
    let mut transaction = client.store.begin(0, Mode::Write);
    transaction.change_record(b"outbox/2", Some(b"first"));
    transaction.change_record(b"outbox/3", Some(b"second"));
    transaction.change_record(b"outbox/2", None);
    // The record of this event is told by `committed`.
    transaction
        .set(b"k", b"v", SetCondition::Always, SetExpiry::None)
        .expect("it is set");
    assert_eq!(*sink.set.lock(), []);
    drop(transaction.commit().expect("no conflict"));
    let record = |name: &[u8], value: &[u8]| -> Record { (name.into(), value.into()) };
    assert_eq!(
        *sink.set.lock(),
        [
            record(b"outbox/2", b"first"),
            record(b"outbox/3", b"second")
        ]
    );
    assert_eq!(sink.committed.lock().len(), 1);
}
