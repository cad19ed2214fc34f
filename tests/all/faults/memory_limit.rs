//! A limit of memory for the server's whole control group: the system kills what exceeds it.
//!
//! Answered writes are there afterwards. A server whose own limit is well below is not killed: it refuses
//! what needs more memory, and serves on.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ferrite_tests::{Client, Reply, Server, ServerBuilder, encode};

/// Memory of the group.
const GROUP_BYTES: u64 = 96 << 20;

/// Bytes of a value, and values that together exceed the group many times over.
const VALUE_BYTES: usize = 20_000;
const VALUES: usize = 100_000;

const KILLED: i32 = 9;

/// The server's own limit in the test in which it is to live, and that of its group: a request, a sync and tables
/// that are written need memory above the one, and stay below the other.
const OWN_BYTES: u64 = 96 << 20;
const ROOMY_GROUP_BYTES: u64 = 192 << 20;

/// A control group of its own.
struct Group(PathBuf);

impl Group {
    /// Makes a group with a limit of memory, by the first or the second version of the interface; `None` if
    /// this user may not.
    fn new(name: &str, bytes: u64) -> Option<Self> {
        let name = format!("ferrite-{name}-{}", std::process::id());
        [
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
            ("/sys/fs/cgroup", "memory.max"),
        ]
        .into_iter()
        .find_map(|(parent, limit)| {
            let path = Path::new(parent).join(&name);
            fs::create_dir(&path).ok()?;
            let group = Self(path);
            // Where the controller is not there, neither is this file.
            let file = group.0.join(limit);
            let limits = file.exists() && fs::write(&file, bytes.to_string()).is_ok();
            limits.then_some(group)
        })
    }

    /// Has the server join the group before it starts.
    fn builder(&self, dir: &Path) -> ServerBuilder {
        Server::builder()
            .dir(dir)
            .log(&dir.join("../log"))
            .arguments(&["--store-durability", "always"])
            .shell(&format!("echo $$ > {}/cgroup.procs", self.0.display()))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Only a process that is not gone yet keeps it.
        let _ = fs::remove_dir(&self.0);
    }
}

/// Sets two keys to a number, with a long value, in one transaction. Returns the error, if one is
/// answered; `None` if the server is gone.
fn write(client: &mut Client, number: usize, value: &str) -> Option<Result<(), String>> {
    let (number, key) = (number.to_string(), format!("value:{number}"));
    let unit: Vec<u8> = [
        &["MULTI"][..],
        &["SET", "first", &number],
        &["SET", &key, value],
        &["SET", "last", &number],
        &["EXEC"],
    ]
    .iter()
    .flat_map(|words| encode(words))
    .collect();
    client.try_send(&unit).ok()?;
    let mut replies = Vec::new();
    for _ in 0..5 {
        replies.push(client.next()?);
    }
    // The errors of the commands are in what `EXEC` answers.
    let error = replies.iter().find_map(|reply| match reply {
        Reply::Array(each) => each.iter().find_map(Reply::error),
        reply => reply.error(),
    });
    Some(error.map_or(Ok(()), |error| Err(error.to_owned())))
}

fn number(client: &mut Client, key: &str) -> usize {
    let reply = client.run(&format!("GET {key}"));
    reply
        .text()
        .map_or(0, |text| text.parse().expect("a number"))
}

#[test]
fn the_system_may_kill_it_at_its_limit_and_nothing_is_lost() {
    let Some(group) = Group::new("killed", GROUP_BYTES) else {
        println!("skipped: this user may not make control groups with a limit of memory");
        return;
    };
    let place = tempfile::tempdir().expect("a temporary folder");
    let dir = place.path().join("server");
    fs::create_dir(&dir).expect("created");
    let value = "v".repeat(VALUE_BYTES);
    let mut server = group.builder(&dir).start();
    let mut client = server.client();
    let (mut sent, mut answered) = (0, 0);
    while sent < VALUES {
        sent += 1;
        match write(&mut client, sent, &value) {
            Some(done) => {
                assert_eq!(done, Ok(()));
                answered = sent;
            }
            None => break,
        }
    }
    let status = server.wait_briefly().expect("it was killed");
    let signal = std::os::unix::process::ExitStatusExt::signal(&status);
    assert_eq!(signal, Some(KILLED), "{status}");
    assert!(answered > 100, "{answered}");
    // Its data does not fit any more: each start is killed as well, and harms nothing.
    for _ in 0..2 {
        if let Ok(mut server) = group.builder(&dir).try_start() {
            let mut client = server.client();
            while write(&mut client, sent, &value).is_some() {
                sent += 1;
            }
            server.wait_briefly().expect("it was killed");
        }
    }
    let server = Server::builder().dir(&dir).start();
    let mut client = server.client();
    let first = number(&mut client, "first");
    assert!((answered..=sent).contains(&first), "{first} of {answered}");
    assert_eq!(number(&mut client, "last"), first, "half of a transaction");
    for at in 1..=answered {
        let len = client.run(&format!("STRLEN value:{at}"));
        assert_eq!(len, Reply::Int(VALUE_BYTES as i64), "value {at}");
    }
    assert!(server.stop().success());
    println!("{answered} answered before it was killed at {GROUP_BYTES} bytes");
}

/// Writes values until one is refused. Returns how many were taken, and the error.
fn fill(client: &mut Client, value: &str) -> (usize, String) {
    for number in 0..VALUES {
        match write(client, number, value).expect("the server is there") {
            Ok(()) => {}
            Err(error) => return (number, error),
        }
    }
    panic!("{VALUES} values were taken");
}

#[test]
fn with_a_limit_of_its_own_below_it_refuses_and_serves_on() {
    let Some(group) = Group::new("refuses", ROOMY_GROUP_BYTES) else {
        println!("skipped: this user may not make control groups with a limit of memory");
        return;
    };
    let place = tempfile::tempdir().expect("a temporary folder");
    let dir = place.path().join("server");
    fs::create_dir(&dir).expect("created");
    let value = "v".repeat(VALUE_BYTES);
    let server = group
        .builder(&dir)
        .arguments(&["--max-memory", &format!("{OWN_BYTES}B")])
        .start();
    let mut client = server.client();
    let (taken, error) = fill(&mut client, &value);
    assert!(error.contains("OOM"), "{error}");
    // Each takes more than its bytes, and most of the limit is there for them.
    assert!(taken > 100, "{taken}");

    // However often it is asked, it refuses, and reads are answered.
    for round in 0..500 {
        let refused = write(&mut client, VALUES + round, &value).expect("the server is there");
        assert!(
            refused.as_ref().is_err_and(|error| error.contains("OOM")),
            "round {round}: {refused:?}"
        );
        assert_eq!(client.run("PING").text(), Some("PONG"));
        let found = client.run(&format!("GET value:{}", round % taken));
        assert_eq!(found.text(), Some(&*value), "value {}", round % taken);
    }

    // What is deleted makes room, once the storage engine has written and freed what it held of it.
    for number in 0..taken {
        assert_eq!(client.run(&format!("DEL value:{number}")), Reply::Int(1));
    }
    let until = Instant::now() + Duration::from_secs(60);
    let mut again = 0;
    while again < taken / 2 {
        assert!(Instant::now() < until, "{again} of {taken}");
        match write(&mut client, again, &value).expect("the server is there") {
            Ok(()) => again += 1,
            Err(error) => {
                assert!(error.contains("OOM"), "{error}");
                std::thread::sleep(Duration::from_millis(100));
            }
        }
    }
    assert_eq!(client.run("PING").text(), Some("PONG"));
    assert!(server.stop().success());
    println!("{taken} values were taken");
}
