//! Prints what operations cost over the size of the value or of the keyspace: `docs/store.md` has the
//! table.
//!
//! `cargo run --release -p ferrite-store --example curves`

#![allow(clippy::print_stdout, reason = "printing is what this program is for")]

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use ferrite_protocol::resp::{Protocol, ReplyWriter};
use ferrite_store::{Clock, DiskOptions, Durability, Flow, Session, Store, StoreOptions};

/// Writes replies nowhere.
struct Nowhere;

impl ReplyWriter for Nowhere {
    fn protocol(&self) -> Protocol {
        Protocol::Resp2
    }

    fn null(&mut self) {}

    fn null_array(&mut self) {}

    fn simple(&mut self, _: &str) {}

    fn error(&mut self, code_and_text: &str) {
        panic!("{code_and_text}");
    }

    fn int(&mut self, _: i64) {}

    fn double(&mut self, _: f64) {}

    fn double_text(&mut self, _: &[u8]) {}

    fn bool(&mut self, _: bool) {}

    fn bulk(&mut self, _: &[u8]) {}

    fn array(&mut self, _: usize) {}

    fn map(&mut self, _: usize) {}

    fn set(&mut self, _: usize) {}

    fn push(&mut self, _: usize) {}

    fn verbatim(&mut self, _: [u8; 3], _: &[u8]) {}

    fn big_number(&mut self, _: &[u8]) {}
}

fn execute(store: &Store, session: &mut Session, argv: &[&[u8]]) {
    match store.execute(session, argv, &mut Nowhere) {
        Flow::Done => {}
        Flow::Retry(retry) => {
            retry.wait();
            execute(store, session, argv);
        }
        Flow::Blocked(_) => panic!("nothing here waits"),
    }
}

/// A figure of this process in a file of `/proc/self`, after its name.
fn figure(file: &str, name: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/self/{file}")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.split_whitespace().next())
        .and_then(|number| number.parse().ok())
        .unwrap_or(0)
}

/// Runs `operation` some times on a store with a disk; prints the time of one until it was
/// acknowledged, and the bytes and write calls of one once all were on disk.
fn on_disk(
    name: &str,
    size: usize,
    count: u32,
    prepare: impl Fn(&Store, &mut Session),
    mut operation: impl FnMut(&Store, &mut Session, u32),
) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let disk = DiskOptions {
        durability: Durability::EverySecond,
        ..DiskOptions::new(directory.path())
    };
    let store = Store::open(&StoreOptions::default(), disk).expect("an empty directory");
    let mut session = Session::new();
    prepare(&store, &mut session);
    operation(&store, &mut session, count);
    settle(&store);
    let (bytes, calls) = (figure("io", "wchar:"), figure("io", "syscw:"));
    let started = Instant::now();
    for number in 0..count {
        operation(&store, &mut session, number);
    }
    let taken = started.elapsed();
    settle(&store);
    let (bytes, calls) = (
        figure("io", "wchar:") - bytes,
        figure("io", "syscw:") - calls,
    );
    println!(
        "{name:<26} {size:>10} {:>12.1} µs {:>12} B {:>8.3} writes",
        taken.as_secs_f64() * 1e6 / f64::from(count),
        bytes / u64::from(count),
        calls as f64 / f64::from(count),
    );
}

/// Waits until everything is written.
fn settle(store: &Store) {
    while store
        .disk_status()
        .is_some_and(|status| status.waiting_commits > 0)
    {
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn strings() {
    for size in [10_000, 100_000, 1_000_000, 8_000_000] {
        let text = vec![b'x'; size];
        let prepare =
            |store: &Store, session: &mut Session| execute(store, session, &[b"SET", b"k", &text]);
        on_disk(
            "APPEND of 10 bytes",
            size,
            1_000,
            prepare,
            |store, session, _| {
                execute(store, session, &[b"APPEND", b"k", b"0123456789"]);
            },
        );
        on_disk("SETBIT", size, 1_000, prepare, |store, session, number| {
            let bit = (number as usize * 7_919 % (size * 8)).to_string();
            execute(store, session, &[b"SETBIT", b"k", bit.as_bytes(), b"1"]);
        });
    }
}

fn fill_list(store: &Store, session: &mut Session, len: usize, element: impl Fn(usize) -> String) {
    let elements: Vec<String> = (0..len).map(element).collect();
    for some in elements.chunks(1_000) {
        let mut argv: Vec<&[u8]> = vec![b"RPUSH", b"l"];
        argv.extend(some.iter().map(String::as_bytes));
        execute(store, session, &argv);
    }
}

fn lists() {
    for len in [1_000, 10_000, 100_000, 300_000] {
        let prepare = |store: &Store, session: &mut Session| {
            fill_list(store, session, len, |at| format!("element {at}"));
        };
        // The search for the pivot is linear, in Redis as well; `LSET` shows the cost without it.
        let pivot = format!("element {}", len / 2);
        on_disk(
            "LINSERT in the middle",
            len,
            100,
            prepare,
            |store, session, number| {
                let new = number.to_string();
                let argv = [
                    b"LINSERT",
                    &b"l"[..],
                    b"BEFORE",
                    pivot.as_bytes(),
                    new.as_bytes(),
                ];
                execute(store, session, &argv);
            },
        );
        let half = |store: &Store, session: &mut Session| {
            fill_list(store, session, len, |at| match at % 2 {
                0 => format!("element {at}"),
                _ => "half".to_owned(),
            });
        };
        on_disk(
            "LREM of half, refilled",
            len,
            1,
            |_, _| {},
            |store, session, _| {
                execute(store, session, &[b"DEL", b"l"]);
                half(store, session);
                let started = Instant::now();
                execute(store, session, &[b"LREM", b"l", b"0", b"half"]);
                println!(
                    "{:<26} {len:>10} {:>12.1} µs",
                    "  of it LREM",
                    started.elapsed().as_secs_f64() * 1e6
                );
            },
        );
    }
    println!("peak memory {} MB", figure("status", "VmHWM:") / 1024);
}

fn expiry() {
    for len in [10_000_u32, 100_000, 1_000_000, 4_000_000] {
        let now = Arc::new(AtomicI64::new(1_700_000_000_000));
        let options = StoreOptions {
            clock: Clock::Manual(Arc::clone(&now)),
            ..StoreOptions::default()
        };
        let store = Store::in_memory(&options);
        let mut session = Session::new();
        let before = figure("status", "VmRSS:");
        for key in 0..len {
            let key = format!("key:{key:012}");
            // One in a hundred thousand dies first.
            let lifetime: &[u8] = if key.ends_with("00000") {
                b"10"
            } else {
                b"1000"
            };
            execute(
                &store,
                &mut session,
                &[b"SET", key.as_bytes(), b"v", b"PX", lifetime],
            );
        }
        let bytes = (figure("status", "VmRSS:") - before) * 1024 / u64::from(len);
        let cycle = |at: i64| {
            now.fetch_add(at, Ordering::SeqCst);
            let started = Instant::now();
            let removed = store.expire_cycle(Duration::MAX).removed;
            (removed, started.elapsed())
        };
        let (_, nothing) = cycle(5);
        let (few, few_time) = cycle(10);
        now.fetch_add(1_000, Ordering::SeqCst);
        let started = Instant::now();
        execute(&store, &mut session, &[b"RANDOMKEY"]);
        let random = started.elapsed();
        let (all, all_time) = cycle(0);
        println!(
            "{len:>10} keys of {bytes} B: nothing due {:.1} µs; {few} due {:.1} µs; RANDOMKEY of dead keys {:.1} µs; {all} due {:.2} µs each",
            nothing.as_secs_f64() * 1e6,
            few_time.as_secs_f64() * 1e6,
            random.as_secs_f64() * 1e6,
            all_time.as_secs_f64() * 1e6 / all as f64,
        );
    }
}

fn main() {
    println!("until acknowledged (everysec), and what went to disk, for one operation");
    strings();
    lists();
    expiry();
}
