//! Allocations of the store that fail, one after the other, each in a process of its own.
//!
//! A process without memory ends with an abort, or tells an error. What was acknowledged before is on disk then, and the
//! directory opens again. `FERRITE_ALLOCATIONS` sets the number of allocations that fail, spread over
//! all of them; `all` means each.

use std::hint::black_box;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use ferrite_protocol::keyspace::{Keyspace as _, Mode, Transaction as _};
use ferrite_store::Durability;

use crate::durability::{open, step};

/// A library that lets one allocation fail.
const SOURCE: &str = include_str!("../../../tests/faults/memory.c");

/// Allocations of these sizes begin and end the count.
const FIRST_SIZE: usize = 1_234_577;
const LAST_SIZE: usize = 1_234_589;

/// Allocations that fail in a plain run.
const FAILURES: u64 = 5;

/// Transactions of a victim.
const STEPS: i64 = 12;

/// Set in the victim, to its data directory.
const VICTIM: &str = "FERRITE_ALLOCATION_VICTIM";

const ABORTED: i32 = 6;

/// Does nothing outside of the test's child process; there it commits, and one allocation fails.
#[test]
fn victim() {
    let Ok(directory) = std::env::var(VICTIM) else {
        return;
    };
    drop(black_box(Vec::<u8>::with_capacity(FIRST_SIZE)));
    // What the system or the engine refuses for want of memory is an error and no abort.
    let Ok(mut client) = open(Path::new(&directory), Durability::Always) else {
        return;
    };
    for _ in 0..STEPS {
        let mut transaction = client.store.begin(0, Mode::Write);
        let number = step(&mut transaction, 0).expect("no other client writes");
        let receipt = transaction.commit();
        if receipt.is_ok_and(|receipt| receipt.wait().is_ok()) {
            println!("done {number}");
        } else {
            return;
        }
    }
    // Deleted, written anew, and flushed.
    client.run("DEL hash:0");
    client.run("HSET hash:0 number 0");
    drop(client);
    drop(black_box(Vec::<u8>::with_capacity(LAST_SIZE)));
}

fn run_victim(library: &Path, directory: &Path, fails: u64) -> Output {
    Command::new(std::env::current_exe().expect("this test's path"))
        .args(["--exact", "allocations::victim", "--nocapture"])
        .args(["--test-threads", "1"])
        .env(VICTIM, directory)
        .env("LD_PRELOAD", library)
        .env("MEMORY_FAILS", fails.to_string())
        // A trace of the stack takes longer than all the rest.
        .env("RUST_BACKTRACE", "0")
        .output()
        .expect("this test runs once more")
}

fn build(directory: &Path) -> Option<PathBuf> {
    let (source, library) = (directory.join("memory.c"), directory.join("memory.so"));
    std::fs::write(&source, SOURCE).expect("written");
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .args([&library, &source])
        .status();
    built
        .is_ok_and(|status| status.success())
        .then_some(library)
}

/// Opens what a victim left behind, and compares it with what it had acknowledged.
fn check(directory: &Path, acknowledged: i64, what: &str) {
    let mut client = open(directory, Durability::Always)
        .unwrap_or_else(|error| panic!("{what}: {error}: {:?}", std::error::Error::source(&error)));
    let text = client.run("GET counter:0");
    let number: i64 = text
        .split(' ')
        .nth(1)
        .and_then(|text| text.parse().ok())
        .unwrap_or(0);
    assert!(number >= acknowledged, "{what}: {number} of {acknowledged}");
    if number > 0 {
        assert_eq!(client.run("LINDEX list:0 -1"), text, "{what}");
        let len = client.run("LLEN list:0");
        assert_eq!(len, format!(":{}", number.min(20)), "{what}");
        let end = client.run("GETRANGE pages:0 -8 -1");
        assert_eq!(end, format!("$8 {number:08}"), "{what}");
        assert_eq!(client.run("LINDEX edited:0 149"), text, "{what}");
        assert_eq!(client.run("GET total"), text, "{what}");
        // The last two commits of all, or none of them, or the first.
        let field = client.run("HGET hash:0 number");
        let ends = number == STEPS && ["$1 0", "$-1"].contains(&field.as_str());
        assert!(field == text || ends, "{what}: {field}");
    }
}

#[test]
fn an_allocation_that_fails_ends_the_process_and_leaves_whole_commits() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let Some(library) = build(folder.path()) else {
        println!("skipped: there is no C compiler `cc`");
        return;
    };
    let whole = run_victim(&library, &folder.path().join("whole"), 0);
    assert!(whole.status.success(), "{whole:?}");
    let told = String::from_utf8_lossy(&whole.stderr);
    let all = told
        .lines()
        .find_map(|line| line.strip_prefix("allocations ")?.parse::<u64>().ok())
        .expect("the victim tells how many there were");
    assert!(all > 500, "{all}");
    let failures = match std::env::var("FERRITE_ALLOCATIONS").as_deref() {
        Ok("all") => all,
        Ok(number) => number.parse().expect("a number or `all`"),
        Err(_) => FAILURES,
    };
    let (mut aborted, mut withstood) = (0, 0);
    for turn in 0..failures.min(all) {
        let fails = 1 + turn * all / failures.min(all);
        let directory = folder.path().join(format!("at-{fails}"));
        let output = run_victim(&library, &directory, fails);
        let what = format!("allocation {fails} of {all}");
        let errors = String::from_utf8_lossy(&output.stderr);
        match (output.status.signal(), output.status.success()) {
            // By the allocator, or by the engine's own panic over what it did not get.
            (Some(ABORTED), _) => aborted += 1,
            // It went on, or told the error.
            (None, true) => withstood += 1,
            _ => panic!("{what}: {:?}: {errors}", output.status),
        }
        let said = String::from_utf8_lossy(&output.stdout);
        let acknowledged = said
            .lines()
            .filter_map(|line| line.rsplit_once("done ")?.1.parse().ok())
            .max();
        check(&directory, acknowledged.unwrap_or(0), &what);
        std::fs::remove_dir_all(&directory).expect("removed");
    }
    println!(
        "{aborted} aborts and {withstood} that went on or told an error, of {all} allocations"
    );
    assert!(aborted > 0);
}
