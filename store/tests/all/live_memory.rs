//! Memory after data is gone, by the bytes that are allocated and not freed.
//!
//! The memory of a process says little: the allocator keeps pages. So a process of its own, under a library
//! that counts (`tests/faults/live.c`), fills a store and empties it in several ways.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use ferrite_store::DiskOptions;

use crate::client::Client;
use crate::durability::open_with;

/// A library that counts.
const SOURCE: &str = include_str!("../../../tests/faults/live.c");

/// Set in the counted process.
const VICTIM: &str = "FERRITE_LIVE_VICTIM";

/// Keys or elements of each kind.
const COUNT: usize = 40_000;

/// Elements of one command.
const PER_COMMAND: usize = 100;

/// Most bytes that may stay, besides a fiftieth of what was there.
const SLACK: i64 = 64 << 10;

/// The same with a disk: the engine's cache of a mebibyte, and what it knows of its tables.
const DISK_SLACK: i64 = 2 << 20;

/// Longest wait for what is freed on other threads.
const PATIENCE: Duration = Duration::from_secs(20);

/// A kind of data: its name, and its commands by their number.
type Fill = (&'static str, fn(usize) -> String);

const FILLS: [Fill; 8] = [
    ("strings", |at| {
        format!("SET key:{at} value-that-takes-some-room-{at}")
    }),
    ("numbers", |at| format!("INCRBY number:{at} {at}")),
    ("mortals", |at| format!("SET mortal:{at} {at} PX 1000")),
    ("hash", |at| {
        format!("HSET hash {}", pairs(at, "field", "value"))
    }),
    ("set", |at| format!("SADD set {}", singles(at))),
    ("zset", |at| format!("ZADD zset {}", scores(at))),
    ("list", |at| format!("RPUSH list {}", singles(at))),
    ("hashes", |at| {
        format!("HSET hash:{at} field value other value")
    }),
];

fn many(at: usize, word: impl Fn(usize) -> String) -> String {
    (at * PER_COMMAND..(at + 1) * PER_COMMAND).fold(String::new(), |mut line, at| {
        let _ = write!(line, "{} ", word(at));
        line
    })
}

fn pairs(at: usize, field: &str, value: &str) -> String {
    many(at, |at| format!("{field}:{at} {value}:{at}"))
        .trim()
        .to_owned()
}

fn singles(at: usize) -> String {
    many(at, |at| format!("member-of-some-length:{at}"))
        .trim()
        .to_owned()
}

fn scores(at: usize) -> String {
    many(at, |at| format!("{at} member:{at}")).trim().to_owned()
}

/// Ways to empty a store that holds one kind.
#[derive(Clone, Copy, Debug)]
enum Way {
    Flush,
    /// Every key is deleted.
    Delete,
    /// Every element is removed, from the first to the last.
    Remove,
    /// Every key expires.
    Expire,
}

fn empty(client: &mut Client, kind: &str, way: Way) {
    match way {
        Way::Flush => {
            client.run("FLUSHALL");
        }
        Way::Delete => {
            let count = COUNT;
            for at in 0..count {
                let key = match kind {
                    "strings" => format!("key:{at}"),
                    "numbers" => format!("number:{at}"),
                    "mortals" => format!("mortal:{at}"),
                    "hashes" => format!("hash:{at}"),
                    one => one.to_owned(),
                };
                client.run(&format!("DEL {key}"));
            }
        }
        Way::Remove => {
            for at in 0..COUNT / PER_COMMAND {
                client.run(&match kind {
                    "hash" => format!("HDEL hash {}", many(at, |at| format!("field:{at}")).trim()),
                    "set" => format!("SREM set {}", singles(at)),
                    "zset" => format!("ZREM zset {}", many(at, |at| format!("member:{at}")).trim()),
                    _ => format!("LPOP list {PER_COMMAND}"),
                });
            }
        }
        Way::Expire => {
            client.advance(2_000);
            while client.store.expire_cycle(Duration::from_secs(1)).more {}
        }
    }
    assert_eq!(client.run("DBSIZE"), ":0", "{kind} {way:?}");
}

/// Tells a moment to the parent, and waits until that has looked.
fn tell(moment: &str) {
    println!("\nmoment {moment}");
    let mut line = String::new();
    std::io::stdin()
        .read_line(&mut line)
        .expect("the parent answers");
}

/// Does nothing outside of the test's child process.
#[test]
fn victim() {
    if std::env::var_os(VICTIM).is_none() {
        return;
    }
    let mut client = Client::new();
    // What is made once.
    client.run("SET first 1");
    client.run("FLUSHALL");
    for (kind, fill) in FILLS {
        let is_one_key = ["hash", "set", "zset", "list"].contains(&kind);
        let ways = match kind {
            "mortals" => &[Way::Flush, Way::Delete, Way::Expire][..],
            _ if is_one_key => &[Way::Flush, Way::Remove],
            _ => &[Way::Flush, Way::Delete],
        };
        for way in ways {
            tell(&format!("before {kind} {way:?}"));
            let commands = if is_one_key {
                COUNT / PER_COMMAND
            } else {
                COUNT
            };
            for at in 0..commands {
                let reply = client.run(&fill(at));
                assert!(!reply.starts_with('-'), "{reply}");
            }
            tell(&format!("full {kind} {way:?}"));
            empty(&mut client, kind, *way);
            tell(&format!("after {kind} {way:?}"));
        }
    }
    on_disk();
    tell("end");
}

/// The same for a store whose engine keeps in memory what it has not written into tables.
fn on_disk() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut client = open_with(directory.path(), |disk| DiskOptions {
        rest_after: Duration::from_millis(20),
        ..disk
    })
    .expect("an empty directory");
    let (kind, fill) = FILLS[0];
    tell("before disk Flush");
    for at in 0..COUNT {
        client.run(&fill(at));
    }
    tell("full disk Flush");
    empty(&mut client, kind, Way::Flush);
    tell("after disk Flush");
}

fn build(directory: &Path) -> Option<PathBuf> {
    let (source, library) = (directory.join("live.c"), directory.join("live.so"));
    std::fs::write(&source, SOURCE).expect("written");
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .args([&library, &source])
        .status();
    built
        .is_ok_and(|status| status.success())
        .then_some(library)
}

#[test]
fn nothing_stays_in_memory_of_what_is_gone() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let Some(library) = build(folder.path()) else {
        println!("skipped: there is no C compiler `cc`");
        return;
    };
    let counted = folder.path().join("live");
    let mut child = Command::new(std::env::current_exe().expect("this test's path"))
        .args(["--exact", "live_memory::victim", "--nocapture"])
        .args(["--test-threads", "1"])
        .env(VICTIM, "1")
        .env("LIVE_BYTES", &counted)
        .env("LD_PRELOAD", &library)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("this test runs once more");
    let mut answers = child.stdin.take().expect("a pipe");
    let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let live = || {
        let bytes = std::fs::read(&counted).expect("the library made it");
        i64::from_ne_bytes(bytes.try_into().expect("eight bytes"))
    };
    let (mut before, mut full, mut looked) = (0, 0, 0);
    let mut kept = Vec::new();
    for line in lines.map_while(Result::ok) {
        let Some(moment) = line.strip_prefix("moment ") else {
            continue;
        };
        match moment.split_once(' ') {
            Some(("before", _)) => before = live(),
            Some(("full", _)) => full = live() - before,
            Some(("after", what)) => {
                looked += 1;
                let slack = if what.starts_with("disk") {
                    DISK_SLACK
                } else {
                    SLACK
                };
                let most = full / 50 + slack;
                // The engine writes its tables on a thread of its own.
                let started = Instant::now();
                while live() - before > most && started.elapsed() < PATIENCE {
                    std::thread::yield_now();
                }
                let stays = live() - before;
                println!("{what}: {full} bytes, and {stays} stay");
                assert!(full > 500_000, "{what}: {full}");
                if stays > most {
                    kept.push(format!("{what}: {stays} of {full}"));
                }
            }
            _ => {}
        }
        writeln!(answers).expect("it listens");
    }
    assert!(child.wait().expect("our own child").success());
    assert_eq!(looked, 18);
    assert!(kept.is_empty(), "{kept:#?}");
}
