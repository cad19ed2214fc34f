//! Prints the figures of `docs/store.md`: single operations, transactions, start-up, memory.
//!
//! `cargo run --release -p ferrite-store --example measure`

#![allow(clippy::print_stdout, reason = "printing is what this program is for")]

use std::hint::black_box;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use ferrite_protocol::keyspace::{Keyspace as _, Mode, SetCondition, SetExpiry, Transaction as _};
use ferrite_protocol::resp::{Protocol, ReplyWriter};
use ferrite_store::{DiskOptions, Durability, Flow, Session, Store, StoreOptions};

/// Counts the bytes of replies and forgets them.
#[derive(Default)]
struct Sink(usize);

impl ReplyWriter for Sink {
    fn protocol(&self) -> Protocol {
        Protocol::Resp2
    }

    fn null(&mut self) {}

    fn null_array(&mut self) {}

    fn simple(&mut self, text: &str) {
        self.0 += text.len();
    }

    fn error(&mut self, code_and_text: &str) {
        panic!("{code_and_text}");
    }

    fn int(&mut self, value: i64) {
        self.0 += black_box(value) as usize & 1;
    }

    fn double(&mut self, value: f64) {
        self.0 += black_box(value) as usize & 1;
    }

    fn double_text(&mut self, text: &[u8]) {
        self.0 += text.len();
    }

    fn bool(&mut self, value: bool) {
        self.0 += usize::from(value);
    }

    fn bulk(&mut self, bytes: &[u8]) {
        self.0 += black_box(bytes).len();
    }

    fn array(&mut self, _: usize) {}

    fn map(&mut self, _: usize) {}

    fn set(&mut self, _: usize) {}

    fn push(&mut self, _: usize) {}

    fn verbatim(&mut self, _: [u8; 3], text: &[u8]) {
        self.0 += text.len();
    }

    fn big_number(&mut self, digits: &[u8]) {
        self.0 += digits.len();
    }
}

/// Times `count` runs and prints nanoseconds for one: the median of five repetitions.
fn time(name: &str, count: u32, mut run: impl FnMut(u32)) {
    let mut times: Vec<Duration> = (0..5)
        .map(|_| {
            let start = Instant::now();
            (0..count).for_each(&mut run);
            start.elapsed()
        })
        .collect();
    times.sort();
    println!(
        "{name:<44} {:>8.0} ns",
        times[2].as_secs_f64() * 1e9 / f64::from(count)
    );
}

fn execute(store: &Store, session: &mut Session, argv: &[&[u8]]) {
    match store.execute(session, argv, &mut Sink::default()) {
        Flow::Done => {}
        Flow::Retry(retry) => {
            retry.wait();
            execute(store, session, argv);
        }
        Flow::Blocked(_) => panic!("nothing here waits"),
    }
}

fn resident_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap_or_default();
    line.split_whitespace()
        .nth(1)
        .and_then(|kb| kb.parse::<usize>().ok())
        .unwrap_or(0)
        * 1024
}

fn keys(count: u32) -> Vec<Vec<u8>> {
    (0..count)
        .map(|i| format!("key:{i:012}").into_bytes())
        .collect()
}

fn commands(title: &str, store: &Store, count: u32) {
    println!("\n{title}");
    let session = &mut Session::new();
    let keys = keys(count);
    let key = |i: u32| &keys[(i.wrapping_mul(2_654_435_761) % count) as usize][..];
    time("SET, 16-byte key, 3-byte value", count, |i| {
        execute(store, session, &[b"SET", key(i), b"xxx"]);
    });
    time("GET", count, |i| execute(store, session, &[b"GET", key(i)]));
    time("GET of one key", count, |_| {
        execute(store, session, &[b"GET", key(0)]);
    });
    time("INCR of one key", count, |_| {
        execute(store, session, &[b"INCR", b"counter"]);
    });
    time("HSET, 1,000 hashes of 100 fields", count, |i| {
        execute(
            store,
            session,
            &[
                b"HSET",
                format!("h:{}", i % 1000).as_bytes(),
                key(i % 100),
                b"v",
            ],
        );
    });
    time("LPUSH", count, |_| {
        execute(store, session, &[b"LPUSH", b"list", b"element"]);
    });
    time("RPOP", count, |_| {
        execute(store, session, &[b"RPOP", b"list"]);
    });
    time("SADD, one set", count, |i| {
        execute(store, session, &[b"SADD", b"set", key(i)]);
    });
    time("ZADD, one sorted set", count, |i| {
        execute(
            store,
            session,
            &[b"ZADD", b"zset", i.to_string().as_bytes(), key(i)],
        );
    });
    time("MSET of 10 keys", count / 10, |i| {
        let mut argv: Vec<&[u8]> = vec![b"MSET"];
        (0..10).for_each(|k| argv.extend([key(i * 10 + k), b"xxx"]));
        execute(store, session, &argv);
    });
}

fn transactions(store: &Store, count: u32) {
    println!("\nTransactions, in memory");
    let keys = keys(count);
    let key = |i: u32| &keys[(i.wrapping_mul(2_654_435_761) % count) as usize][..];
    time("begin and drop", count, |_| {
        drop(store.begin(0, Mode::Write));
    });
    time("get", count, |i| {
        let mut transaction = store.begin(0, Mode::Read);
        black_box(transaction.get(key(i), <[u8]>::len).ok());
        black_box(transaction.commit().ok());
    });
    time("get and set of one key", count, |i| {
        let mut transaction = store.begin(0, Mode::Write);
        black_box(transaction.get(key(i), <[u8]>::len).ok());
        let set = transaction.set(key(i), b"xxx", SetCondition::Always, SetExpiry::None);
        black_box(set.ok());
        black_box(transaction.commit().ok());
    });
    time("rate limit: increment, expire on the first", count, |i| {
        let mut transaction = store.begin(0, Mode::Write);
        let name = [b"limit:", key(i % 1000)].concat();
        if transaction.increment(&name, 1) == Ok(1) {
            black_box(transaction.expire(&name, 60_000).ok());
        }
        black_box(transaction.commit().ok());
    });
}

/// Times a start: writes keys, then reads them back in another process.
fn start_up(directory: &Path, count: u32) {
    let store = open(directory, Durability::EverySecond);
    let mut session = Session::new();
    for key in keys(count) {
        execute(&store, &mut session, &[b"SET", &key, b"xxx"]);
    }
    drop(store);
    let this = std::env::current_exe().unwrap_or_default();
    let status = std::process::Command::new(this)
        .arg("open")
        .arg(directory)
        .status();
    assert!(status.is_ok_and(|status| status.success()));
}

/// The other process of `start_up`: opens the store and reports the time and memory that takes.
fn read_back(directory: &Path) {
    let before = resident_bytes();
    let start = Instant::now();
    let store = open(directory, Durability::EverySecond);
    let took = start.elapsed();
    let held = resident_bytes().saturating_sub(before);
    let mut count = Sink::default();
    let flow = store.execute(&mut Session::new(), &[b"DBSIZE"], &mut count);
    assert!(matches!(flow, Flow::Done));
    println!("start-up: {took:?}, {} MB resident", held >> 20);
}

fn open(directory: &Path, durability: Durability) -> Store {
    let disk = DiskOptions {
        durability,
        ..DiskOptions::new(directory)
    };
    Store::open(&StoreOptions::default(), disk)
        .unwrap_or_else(|error| panic!("{error}: {:?}", std::error::Error::source(&error)))
}

fn on_disk(directory: &Path, count: u32) {
    println!("\nOn disk");
    start_up(&directory.join("keys"), count);
    let directory = &directory.join("all");
    let store = open(directory, Durability::EverySecond);
    commands("Commands, everysec", &store, count);
    let start = Instant::now();
    drop(store);
    println!("closing, with all that waits: {:?}", start.elapsed());
    let store = open(directory, Durability::Always);
    let mut session = Session::new();
    time("SET, always, one client", 200, |i| {
        execute(
            &store,
            &mut session,
            &[b"SET", b"k", i.to_string().as_bytes()],
        );
        session.take_receipt().map(ferrite_store::Receipt::wait);
    });
    drop(store);
    let empty = directory.join("empty");
    let start = Instant::now();
    let store = Store::open(&StoreOptions::default(), DiskOptions::new(&empty));
    println!("opening an empty directory: {:?}", start.elapsed());
    let start = Instant::now();
    drop(store);
    println!("closing it: {:?}", start.elapsed());
    let start = Instant::now();
    drop(Store::open(
        &StoreOptions::default(),
        DiskOptions::new(&empty),
    ));
    println!("opening and closing it again: {:?}", start.elapsed());
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    if let (Some("open"), Some(directory)) = (arguments.next().as_deref(), arguments.next()) {
        return read_back(Path::new(&directory));
    }
    let count = std::env::args()
        .nth(1)
        .and_then(|count| count.parse().ok())
        .unwrap_or(1_000_000);
    let before = resident_bytes();
    let store = Store::in_memory(&StoreOptions::default());
    println!(
        "an empty store: {} KB",
        resident_bytes().saturating_sub(before) >> 10
    );
    let mut session = Session::new();
    let before = resident_bytes();
    let mut key = Vec::new();
    for i in 0..count {
        // One buffer for all keys, so that the test measures only the store's allocations.
        key.clear();
        let _ = write!(key, "key:{i:012}");
        execute(&store, &mut session, &[b"SET", &key, b"xxx"]);
    }
    println!(
        "{count} keys of 16 bytes: {} bytes each",
        (resident_bytes() - before) / count as usize
    );
    commands("Commands, in memory", &store, count);
    transactions(&store, count);
    drop(store);
    let directory = std::env::args()
        .nth(2)
        .unwrap_or_else(|| "measure.tmp".to_owned());
    on_disk(Path::new(&directory), count);
    // Exists only if a step failed before.
    let _ = std::fs::remove_dir_all(directory);
}
