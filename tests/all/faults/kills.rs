//! `kill -9` at any moment, again and again, in one folder.
//!
//! A server starts, says what it has, takes writes, and is killed after some milliseconds, often
//! before it is ready: within three times as long as it takes to start. `FERRITE_KILLS` sets how many times (default 15). `FERRITE_KILLS_DIR` names a
//! folder that stays: the run then goes on where the last one in it ended.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use ferrite_tests::{Client, Reply, Server, encode};

/// Kills in a plain run.
const KILLS: u64 = 15;

/// The requests that were sent, and those answered. Kept in a file between kills.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Progress {
    kills: u64,
    sent: u64,
    answered: u64,
    /// The number that the function returns: of the last definition that was sent, and answered.
    defined: u64,
    defined_surely: u64,
}

impl Progress {
    fn read(path: &Path) -> Self {
        let Ok(text) = fs::read_to_string(path) else {
            return Self::default();
        };
        let mut numbers = text.split(' ').map(|word| word.parse().expect("a number"));
        let mut next = || numbers.next().expect("five numbers");
        Self {
            kills: next(),
            sent: next(),
            answered: next(),
            defined: next(),
            defined_surely: next(),
        }
    }

    fn write(self, path: &Path) {
        let Self {
            kills,
            sent,
            answered,
            defined,
            defined_surely,
        } = self;
        let text = format!("{kills} {sent} {answered} {defined} {defined_surely}");
        fs::write(path, text).expect("written");
    }
}

fn number(reply: &Reply) -> u64 {
    match reply {
        Reply::Null => 0,
        Reply::Int(number) => u64::try_from(*number).expect("no negative number was written"),
        reply => reply.text().expect("text").parse().expect("a number"),
    }
}

/// Reads everything; `None` if the server is killed meanwhile.
fn check(client: &mut Client, progress: &mut Progress) -> Option<()> {
    let mut ask = |line: &str| -> Option<Reply> {
        let words: Vec<&str> = line.split(' ').collect();
        client.try_send(&encode(&words)).ok()?;
        client.next()
    };
    let first = number(&ask("GET a")?);
    for line in [
        "GET b",
        "HGET hash field",
        "LINDEX list -1",
        "ZSCORE zset member",
    ] {
        let other = number(&ask(line)?);
        assert_eq!(other, first, "{line}: half of a transaction, {progress:?}");
    }
    assert!(
        (progress.answered..=progress.sent).contains(&first),
        "{first} is there of {progress:?}"
    );
    let list = ask("LRANGE list 0 -1")?;
    let list: Vec<u64> = list
        .elements()
        .expect("a list")
        .iter()
        .map(number)
        .collect();
    let whole = list.windows(2).all(|pair| pair[0] < pair[1]);
    assert!(whole, "{list:?}");
    let called = ask("WASM.CALL version")?;
    match &called {
        Reply::Int(_) => {
            let version = number(&called);
            assert!(
                (progress.defined_surely..=progress.defined).contains(&version),
                "version {version} of {progress:?}"
            );
            progress.defined_surely = version;
        }
        called => assert_eq!(progress.defined_surely, 0, "{called:?}"),
    }
    progress.answered = first;
    progress.sent = first;
    Some(())
}

/// Writes until the server is killed.
fn write(client: &mut Client, progress: &mut Progress) -> Option<()> {
    loop {
        progress.sent += 1;
        let number = progress.sent.to_string();
        let unit: Vec<u8> = [
            &["MULTI"][..],
            &["SET", "a", &number],
            &["SET", "b", &number],
            &["HSET", "hash", "field", &number],
            &["RPUSH", "list", &number],
            &["LTRIM", "list", "-200", "-1"],
            &["ZADD", "zset", &number, "member"],
            &["EXEC"],
        ]
        .iter()
        .flat_map(|words| encode(words))
        .collect();
        client.try_send(&unit).ok()?;
        for _ in 0..7 {
            let queued = client.next()?;
            assert!(queued.error().is_none(), "{queued:?}");
        }
        let done = client.next()?;
        assert!(matches!(done, Reply::Array(_)), "{done:?}");
        progress.answered = progress.sent;
        if progress.sent.is_multiple_of(7) {
            progress.defined += 1;
            let source = format!(
                r#"(module (memory (export "memory") 1) (func (export "run") (result i64) i64.const {}))"#,
                progress.defined
            );
            let define = ["WASM.DEFINE", "version", &source, "REPLACE"];
            client.try_send(&encode(&define)).ok()?;
            let defined = client.next()?;
            assert!(defined.error().is_none(), "{defined:?}");
            progress.defined_surely = progress.defined;
        }
    }
}

/// Milliseconds until the latest kill: starts take longer on a machine with other work.
fn longest_delay(dir: &Path) -> u128 {
    let started = Instant::now();
    let server = Server::builder().dir(dir).start();
    let took = started.elapsed();
    assert!(server.stop().success());
    (took.as_millis() * 3).max(150)
}

#[test]
fn whatever_the_moment_nothing_is_lost() {
    let kept = std::env::var_os("FERRITE_KILLS_DIR").map(PathBuf::from);
    let temporary = tempfile::tempdir().expect("a temporary folder");
    let dir = kept.unwrap_or_else(|| temporary.path().to_owned());
    fs::create_dir_all(dir.join("server")).expect("created");
    let kills = std::env::var("FERRITE_KILLS").map_or(KILLS, |text| {
        text.parse().expect("FERRITE_KILLS is a number")
    });
    let state = dir.join("progress");
    let mut progress = Progress::read(&state);
    let (mut ready, mut checked) = (0, 0);
    let longest = longest_delay(&dir.join("server"));
    for _ in 0..kills {
        let delay = fastrand::Rng::with_seed(progress.kills).u128(1..longest);
        let (seconds, millis) = (delay / 1000, delay % 1000);
        let shell = format!("(sleep {seconds}.{millis:03}; kill -KILL $$) & true");
        let log = dir.join("log");
        let started = Server::builder()
            .dir(&dir.join("server"))
            .log(&log)
            .arguments(&["--store-durability", "always"])
            .shell(&shell)
            .try_start();
        if let Ok(server) = started {
            ready += 1;
            if let Ok(mut client) = Client::try_connect(server.address())
                && check(&mut client, &mut progress).is_some()
            {
                checked += 1;
                let ended = write(&mut client, &mut progress);
                assert_eq!(ended, None);
            }
        }
        let log = fs::read_to_string(&log).unwrap_or_default();
        assert!(
            !log.contains("panicked") && !log.contains("ferrite-server: "),
            "{log}"
        );
        fs::write(dir.join("log"), "").expect("emptied");
        progress.kills += 1;
        progress.write(&state);
    }
    assert!(kills < 10 || ready > 0, "no server became ready in time");
    println!("{ready} of {kills} were ready, {checked} were checked: {progress:?}");
    let server = Server::builder().dir(&dir.join("server")).start();
    assert!(check(&mut server.client(), &mut progress).is_some());
    assert!(server.stop().success());
    progress.write(&state);
}
