//! Damaged journals that are kept as files in `store/tests/damaged`, each with the outcome that it must have.
//!
//! The store that wrote them had made six commits, each of which changes one key of every type together,
//! and was killed. Those whose names begin with `numbered` are of the format in which each batch has the number of
//! the commit before it.

use std::error::Error as _;
use std::fs;
use std::path::{Path, PathBuf};

use ferrite_store::{Durability, OpenError};

use crate::client::Client;
use crate::durability::open;
use crate::transactions::units::run as unit;

/// Commits of the undamaged journal, all of which were synced.
const ALL: u64 = 6;

/// Outcome that a journal must have when the store is opened.
#[derive(Clone, Copy, Debug)]
enum Outcome {
    /// It has these first commits, and nothing of the others.
    Commits(u64),
    /// It is refused, with these words.
    Refused(&'static str),
    /// It opens, and has lost something without noticing: what the engine cannot tell. The replies are
    /// those of the keys in turn.
    Unnoticed([&'static str; 6]),
}

use Outcome::{Commits, Refused, Unnoticed};

const ENDS_EARLY: &str = "had been synced";
const CHECKSUM: &str = "ChecksumMismatch";

/// Each journal, the last commit of which the store had noted that it is synced, and the outcome.
const JOURNALS: [(&str, u64, Outcome); 38] = [
    ("whole", ALL, Commits(6)),
    // A process or a machine that ended in the middle of a write.
    ("torn-in-the-last-batch", 5, Commits(5)),
    ("torn-in-the-first-byte-of-the-last-batch", 5, Commits(5)),
    ("torn-before-the-end-mark", 5, Commits(5)),
    ("torn-with-zeros-behind", 5, Commits(5)),
    ("cut-to-nothing-before-the-first-sync", 0, Commits(0)),
    ("nonsense-behind-the-end", ALL, Commits(6)),
    // A disk that lost what it had promised to keep.
    ("torn-although-synced", ALL, Refused(ENDS_EARLY)),
    ("cut-after-a-synced-batch", ALL, Refused(ENDS_EARLY)),
    ("cut-to-nothing", ALL, Refused(ENDS_EARLY)),
    ("nonsense-alone", ALL, Refused(ENDS_EARLY)),
    ("zeros-in-a-batch", ALL, Refused(ENDS_EARLY)),
    ("zeros-over-a-batch", ALL, Refused(ENDS_EARLY)),
    ("another-batch-begins-in-one", ALL, Refused(ENDS_EARLY)),
    // Single bits.
    ("bit-in-a-value", ALL, Refused(CHECKSUM)),
    ("bit-in-a-key", ALL, Refused(CHECKSUM)),
    ("bit-in-a-checksum", ALL, Refused(CHECKSUM)),
    ("bit-in-the-last-batch", ALL, Refused(CHECKSUM)),
    ("bit-in-a-count", ALL, Refused("TooManyItems")),
    ("bit-in-a-length", ALL, Refused(ENDS_EARLY)),
    ("bit-in-a-tag", ALL, Refused(ENDS_EARLY)),
    ("bit-in-an-end-mark", ALL, Refused(ENDS_EARLY)),
    // The order of its batches is not what a journal is read by.
    ("bit-in-a-sequence-number", ALL, Commits(6)),
    ("swapped-batches", ALL, Commits(6)),
    ("last-batches-swapped", ALL, Commits(6)),
    ("a-batch-twice", ALL, Commits(6)),
    ("the-last-batch-twice", ALL, Commits(6)),
    // A batch that is missing as a whole is noticed only by what refers to it.
    ("a-batch-is-missing", ALL, Refused("cannot be read")),
    (
        "the-first-batch-is-missing",
        ALL,
        Unnoticed(["$1 6", ":0", "$-1", ":0", ":0", ":0"]),
    ),
    (
        "format-of-another-version",
        ALL,
        Refused("has the format ferrite-store 9"),
    ),
    // With the number of the commit before, a batch that is missing is noticed, and where.
    ("numbered-whole", ALL, Commits(6)),
    (
        "numbered-a-batch-is-missing",
        ALL,
        Refused("commit 3 is missing in its journal 0.jnl, before byte 871"),
    ),
    (
        "numbered-two-batches-are-missing",
        ALL,
        Refused("commits 3 to 4 are missing in its journal 0.jnl"),
    ),
    (
        "numbered-the-first-batch-is-missing",
        ALL,
        Refused("commit 1 is missing in its journal 0.jnl"),
    ),
    ("numbered-the-last-batch-is-missing", 5, Commits(5)),
    ("numbered-swapped-batches", ALL, Commits(6)),
    ("numbered-last-batches-swapped", ALL, Commits(6)),
    ("numbered-a-batch-twice", ALL, Commits(6)),
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/damaged")
}

/// Copies the files below a folder.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("created");
    for entry in fs::read_dir(from).expect("a folder").flatten() {
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).expect("copied");
        }
    }
}

/// Puts a directory together as the store with this journal had left it.
fn lay_out(directory: &Path, journal: &str, synced: u64) {
    copy(&folder().join("base"), directory);
    let journal = folder().join(format!("{journal}.jnl"));
    fs::copy(journal, directory.join("v1/0.jnl")).expect("copied");
    let mark = [synced.to_le_bytes(), (!synced).to_le_bytes()].concat();
    fs::write(directory.join("synced"), mark).expect("written");
}

/// The replies that tell how much is there.
fn seen(client: &mut Client) -> [String; 6] {
    [
        "GET number",
        "LLEN list",
        "LINDEX list -1",
        "HLEN hash",
        "ZCARD zset",
        "SCARD set",
    ]
    .map(|line| client.run(line))
}

fn expected(commits: u64) -> [String; 6] {
    let count = |number: u64| format!(":{number}");
    let text = if commits == 0 {
        "$-1".to_owned()
    } else {
        format!("$1 {commits}")
    };
    let fields = if commits == 0 { 0 } else { commits + 1 };
    [
        text.clone(),
        count(commits),
        text,
        count(fields),
        count(commits),
        count(commits),
    ]
}

fn chain(error: &OpenError) -> String {
    let source = error.source().map_or_else(String::new, ToString::to_string);
    format!("{error}: {source}")
}

#[test]
fn each_journal_ends_as_it_must() {
    for (journal, synced, outcome) in JOURNALS {
        let directory = tempfile::tempdir().expect("a temporary directory");
        lay_out(directory.path(), journal, synced);
        // The second time, nothing may be different from the first.
        for time in ["first", "second"] {
            let what = format!("{journal}, {time} time: {outcome:?}");
            match (open(directory.path(), Durability::Always), outcome) {
                (Ok(mut client), Commits(commits)) => {
                    assert_eq!(seen(&mut client), expected(commits), "{what}");
                }
                (Ok(mut client), Unnoticed(replies)) => {
                    assert_eq!(seen(&mut client), replies, "{what}");
                }
                (Err(error), Refused(words)) => {
                    let text = chain(&error);
                    assert!(text.contains(words), "{what}: {text}");
                }
                (Ok(_), Refused(_)) => panic!("{what}: it was opened"),
                (Err(error), _) => panic!("{what}: {}", chain(&error)),
            }
        }
    }
}

#[test]
fn what_is_opened_takes_further_commits() {
    for (journal, synced, outcome) in JOURNALS {
        let Commits(commits) = outcome else { continue };
        let directory = tempfile::tempdir().expect("a temporary directory");
        lay_out(directory.path(), journal, synced);
        let next = commits + 1;
        let mut client = open(directory.path(), Durability::Always).expect("it opens");
        for line in [
            &format!("SET number {next}"),
            &format!("RPUSH list {next}"),
            &format!("HSET hash number {next} field:{next} {next}"),
            &format!("ZADD zset {next} member:{next}"),
            &format!("SADD set {next}"),
        ] {
            let reply = client.run(line);
            assert!(!reply.starts_with('-'), "{journal}: {line}: {reply}");
        }
        drop(client);
        let mut client = open(directory.path(), Durability::Always).expect("it opens again");
        assert_eq!(seen(&mut client), expected(next), "{journal}");
    }
}

/// Makes the six commits in a directory, and ends as if it were killed: returns the directory that is left.
fn killed_after_six_commits() -> tempfile::TempDir {
    let [running, left] = [(); 2].map(|()| tempfile::tempdir().expect("a temporary directory"));
    let mut client = open(running.path(), Durability::Always).expect("an empty directory");
    for commit in 1..=ALL {
        let lines = [
            format!("SET number {commit}"),
            format!("RPUSH list {commit}"),
            format!("HSET hash number {commit} field:{commit} {commit}"),
            format!("ZADD zset {commit} member:{commit}"),
            format!("SADD set {commit}"),
        ];
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let replies = unit(&mut client, &lines).expect("nothing is watched");
        assert!(!replies.contains('-'), "{replies}");
        // Otherwise the next one may come into the same batch.
        let unsynced = |client: &Client| {
            let status = client.store.disk_status().expect("it is on disk");
            status.unsynced_commits
        };
        while unsynced(&client) > 0 {
            std::thread::yield_now();
        }
    }
    copy(running.path(), left.path());
    left
}

/// The batches of a journal, by where each begins: a start with the number of its items, the items, an end.
fn batches(journal: &[u8]) -> Vec<&[u8]> {
    let number = |at: usize, len: usize| {
        let mut bytes = [0; 8];
        bytes[..len].copy_from_slice(&journal[at..at + len]);
        usize::try_from(u64::from_le_bytes(bytes)).expect("a length")
    };
    let (mut found, mut at) = (Vec::new(), 0);
    while journal.get(at) == Some(&1) {
        let start = at;
        let items = number(at + 1, 4);
        at += 13;
        for _ in 0..items {
            assert_eq!(journal[at], 2, "an item");
            at += 21 + number(at + 11, 2) + number(at + 17, 4);
        }
        assert_eq!(journal[at], 3, "an end");
        at += 13;
        found.push(&journal[start..at]);
    }
    found
}

#[test]
fn each_batch_that_is_missing_before_the_last_is_noticed() {
    let left = killed_after_six_commits();
    let journal = fs::read(left.path().join("v1/0.jnl")).expect("a journal");
    let batches = batches(&journal);
    // The first has the format alone.
    assert_eq!(batches.len() as u64, 1 + ALL);
    for missing in 1..ALL {
        let rest: Vec<&[u8]> = (0..)
            .zip(&batches)
            .filter(|(at, _)| *at != missing)
            .map(|(_, batch)| *batch)
            .collect();
        let directory = tempfile::tempdir().expect("a temporary directory");
        copy(left.path(), directory.path());
        fs::write(directory.path().join("v1/0.jnl"), rest.concat()).expect("written");
        let before: usize = batches
            .iter()
            .take(missing as usize)
            .map(|batch| batch.len())
            .sum();
        let expected =
            format!("commit {missing} is missing in its journal 0.jnl, before byte {before}");
        let error = open(directory.path(), Durability::Always)
            .err()
            .expect("it is refused");
        let text = chain(&error);
        assert!(text.contains(&expected), "{text}");
    }
    assert_eq!(
        seen(&mut open(left.path(), Durability::Always).expect("nothing is missing")),
        expected(ALL)
    );
}

#[test]
fn every_file_has_an_outcome() {
    let mut files: Vec<String> = fs::read_dir(folder())
        .expect("a folder")
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            Some(name.strip_suffix(".jnl")?.to_owned())
        })
        .collect();
    files.sort();
    let mut known: Vec<&str> = JOURNALS.iter().map(|(name, ..)| *name).collect();
    known.sort_unstable();
    assert_eq!(files, known);
}
