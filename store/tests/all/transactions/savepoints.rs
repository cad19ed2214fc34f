//! Savepoints, against a transaction that never ran what was taken back.

use std::sync::Arc;
use std::sync::atomic::AtomicI64;

use ferrite_protocol::keyspace::{CommitError, Keyspace as _, Mode, Transaction as _};
use ferrite_protocol::resp::Protocol;
use ferrite_store::{Clock, DiskOptions, Session, Store, StoreOptions, Transaction};

use crate::client::{Client, Encoder, START, at_once, readable};
use crate::differential::Generator;

/// Commands whose result, or its order, is left to chance, and one that transactions refuse.
const LEFT_OUT: [&str; 8] = [
    "KEYS",
    "SCAN",
    "SPOP",
    "SRANDMEMBER",
    "HRANDFIELD",
    "ZRANDMEMBER",
    "RANDOMKEY",
    "SWAPDB",
];

pub(crate) fn run(transaction: &mut Transaction, argv: &[Vec<u8>]) -> String {
    let argv: Vec<&[u8]> = argv.iter().map(Vec::as_slice).collect();
    let mut out = Encoder::new(Protocol::Resp3);
    transaction.execute(&argv, &|_| true, &mut out);
    readable(&out.bytes)
}

fn words(line: &str) -> Vec<Vec<u8>> {
    line.split(' ')
        .map(|word| word.as_bytes().to_vec())
        .collect()
}

pub(crate) fn request(generator: &mut Generator) -> Vec<Vec<u8>> {
    loop {
        let argv = generator.command();
        let name = String::from_utf8_lossy(&argv[0]).to_ascii_uppercase();
        if !LEFT_OUT.contains(&name.as_str()) {
            return argv;
        }
    }
}

/// Every key of the databases that the commands use, with its value and deadline.
pub(crate) fn content(client: &mut Client) -> Vec<String> {
    let mut lines = Vec::new();
    for database in 0..16 {
        let number = format!("{database}");
        let selected = client.store.select(&mut client.session, number.as_bytes());
        assert!(selected.is_ok());
        let keys = client.raw(&[b"KEYS", b"*"]);
        for key in elements(&keys) {
            let kind = client.raw(&[b"TYPE", &key]);
            let read: &[&[u8]] = match kind.as_slice() {
                b"+string\r\n" => &[b"GET", &key],
                b"+hash\r\n" => &[b"HGETALL", &key],
                b"+list\r\n" => &[b"LRANGE", &key, b"0", b"-1"],
                b"+set\r\n" => &[b"SMEMBERS", &key],
                _ => &[b"ZRANGE", &key, b"0", b"-1", b"WITHSCORES"],
            };
            let value = client.raw(read);
            let mut value = elements(&value);
            if kind.starts_with(b"+hash") {
                let mut pairs: Vec<_> = value.chunks(2).map(<[_]>::to_vec).collect();
                pairs.sort();
                value = pairs.concat();
            } else if kind.starts_with(b"+set") {
                value.sort();
            }
            let ttl = client.raw(&[b"PTTL", &key]);
            lines.push(format!(
                "{database} {} {} {value:?} {}",
                key.escape_ascii(),
                readable(&kind),
                readable(&ttl)
            ));
        }
    }
    lines.sort();
    lines
}

/// The bulk strings of a reply.
pub(crate) fn elements(reply: &[u8]) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    let mut rest = reply;
    while let Some(end) = rest.windows(2).position(|pair| pair == b"\r\n") {
        let (line, after) = (&rest[..end], &rest[end + 2..]);
        rest = after;
        if let Some(len) = line.strip_prefix(b"$") {
            let len: usize = std::str::from_utf8(len)
                .ok()
                .and_then(|len| len.parse().ok())
                .expect("a length");
            found.push(rest[..len].to_vec());
            rest = &rest[len + 2..];
        }
    }
    found
}

fn on_disk(directory: &std::path::Path) -> Client {
    let now = Arc::new(AtomicI64::new(START));
    let options = StoreOptions {
        clock: Clock::Manual(Arc::clone(&now)),
        ..StoreOptions::default()
    };
    let disk = DiskOptions {
        free_bytes_min: 1 << 20,
        ..DiskOptions::new(directory)
    };
    Client {
        store: Store::open(&options, disk).expect("a folder of our own"),
        session: Session::new(),
        now,
        protocol: Protocol::Resp2,
    }
}

#[test]
fn what_is_taken_back_never_happened() {
    for seed in 0..12 {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut marked = on_disk(directory.path());
        let mut plain = Client::new();
        let mut generator = Generator::new(seed);
        let mut random = fastrand::Rng::with_seed(seed);
        for _ in 0..16 {
            let mut one = marked.store.begin(0, Mode::Write);
            let mut other = plain.store.begin(0, Mode::Write);
            for _ in 0..random.usize(1..12) {
                let keep = random.bool();
                assert!(one.set_savepoint());
                for _ in 0..random.usize(1..8) {
                    let argv = request(&mut generator);
                    let reply = run(&mut one, &argv);
                    if keep {
                        let expected = run(&mut other, &argv);
                        // They show the keys in any order.
                        let lists = ["scan", "keys"]
                            .iter()
                            .any(|name| argv[0].eq_ignore_ascii_case(name.as_bytes()));
                        if lists {
                            continue;
                        }
                        let shown: Vec<String> = argv
                            .iter()
                            .map(|word| word.escape_ascii().to_string())
                            .collect();
                        assert_eq!(reply, expected, "seed {seed}: {}", shown.join(" "));
                    }
                }
                if !keep {
                    one.roll_back();
                }
            }
            assert!(one.commit().is_ok() && other.commit().is_ok());
        }
        let expected = content(&mut plain);
        assert_eq!(content(&mut marked), expected, "seed {seed}, in memory");
        drop(marked);
        let mut again = on_disk(directory.path());
        assert_eq!(content(&mut again), expected, "seed {seed}, on disk");
    }
}

#[test]
fn what_was_read_before_it_was_taken_back_still_counts() {
    let mut client = Client::new();
    client.run("SET seen 1");
    for decides in ["GET seen", "INCR seen", "SET seen 2 GET", "GET absent"] {
        let mut transaction = client.store.begin(0, Mode::Write);
        assert!(transaction.set_savepoint());
        run(&mut transaction, &words(decides));
        transaction.roll_back();
        run(&mut transaction, &words("SET result 1"));
        client.run("SET seen 5");
        client.run("SET absent 5");
        assert_eq!(
            transaction.commit().err(),
            Some(CommitError::Conflict),
            "{decides}"
        );
        client.run("DEL absent");
    }
    // A key that was only written, and that write taken back, is nobody's business.
    let mut transaction = client.store.begin(0, Mode::Write);
    assert!(transaction.set_savepoint());
    run(&mut transaction, &words("SET seen 7"));
    transaction.roll_back();
    run(&mut transaction, &words("SET result 2"));
    client.run("SET seen 8");
    assert!(transaction.commit().is_ok());
    client.expect(&[("GET seen", "$1 8"), ("GET result", "$1 2")]);
}

#[test]
fn a_value_that_changed_meanwhile_is_not_mixed_with_what_was_seen() {
    let mut client = Client::new();
    client.run("SET k 1");
    let mut transaction = client.store.begin(0, Mode::Write);
    assert!(transaction.set_savepoint());
    // The key is written first and then asked for, so its old value is not kept.
    run(&mut transaction, &words("SET k 5"));
    assert_eq!(run(&mut transaction, &words("DBSIZE")), ":1");
    transaction.roll_back();
    client.run("SET k 2");
    assert!(run(&mut transaction, &words("GET k")).starts_with('-'));
    assert!(transaction.is_lost());
}

#[test]
fn an_exec_as_a_transaction_depends_on_the_watched_keys() {
    let mut client = Client::new();
    let mut other = client.another();
    client.run("SET k 1");
    client.store.watch(&mut client.session, &[b"k", b"absent"]);
    let mut transaction = client.store.begin_exec(&client.session);
    assert_eq!(transaction.watched_stand(&client.session), Ok(true));
    run(&mut transaction, &words("SET result 1"));
    other.run("SET absent 1");
    assert_eq!(transaction.commit().err(), Some(CommitError::Conflict));
    let mut transaction = at_once(client.store.begin_exec_exclusive(&client.session));
    assert_eq!(transaction.watched_stand(&client.session), Ok(false));
    drop(transaction);
    client.session.end_exec(3);
    assert_eq!(client.session.database(), 3);
    let mut transaction = client.store.begin_exec(&client.session);
    assert_eq!(transaction.watched_stand(&client.session), Ok(true));
    assert_eq!(transaction.database(), 3);
    assert_eq!(transaction.select(b"4"), Ok(()));
    assert!(transaction.select(b"16").is_err());
    run(&mut transaction, &words("SET result 1"));
    assert!(transaction.commit().is_ok());
    assert!(client.store.select(&mut client.session, b"4").is_ok());
    client.expect(&[("GET result", "$1 1")]);
}
