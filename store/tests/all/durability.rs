//! The data on disk after a restart, a kill, damage and a full disk.

use std::io::{BufRead, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::{Duration, Instant};

use ferrite_protocol::keyspace::{Keyspace as _, Mode, StoreError, Transaction as _};
use ferrite_store::{
    Clock, DiskOptions, Durability, OpenError, Session, Store, StoreOptions, Transaction,
};

use crate::client::{CLOSE_TIME, Client, START};

pub(crate) fn open(directory: &Path, durability: Durability) -> Result<Client, OpenError> {
    open_with(directory, |disk| DiskOptions { durability, ..disk })
}

/// Opens a directory with options that differ from those of the tests.
pub(crate) fn open_with(
    directory: &Path,
    change: impl FnOnce(DiskOptions) -> DiskOptions,
) -> Result<Client, OpenError> {
    let now = Arc::new(AtomicI64::new(START));
    let options = StoreOptions {
        clock: Clock::Manual(Arc::clone(&now)),
        ..StoreOptions::default()
    };
    let disk = DiskOptions {
        free_bytes_min: 1 << 20,
        ..DiskOptions::new(directory)
    };
    let store = Store::open(&options, change(disk))?;
    Ok(Client {
        store,
        session: Session::new(),
        now,
        protocol: ferrite_protocol::resp::Protocol::Resp2,
    })
}

pub(crate) fn reopen(client: Client, directory: &Path) -> Client {
    drop(client);
    open(directory, Durability::EverySecond).expect("data that was closed properly")
}

/// Files of the engine's tables.
fn tables(directory: &Path) -> usize {
    let maps = std::fs::read_dir(directory.join("v1/keyspaces")).expect("the engine's maps");
    let folders = maps.flatten().map(|map| map.path().join("tables"));
    let files = folders.filter_map(|folder| Some(std::fs::read_dir(folder).ok()?.count()));
    files.sum()
}

#[test]
fn what_the_engine_has_in_memory_becomes_tables_when_nothing_is_written() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut client = open_with(directory.path(), |disk| DiskOptions {
        rest_after: Duration::from_millis(20),
        ..disk
    })
    .expect("an empty directory");
    let before = tables(directory.path());
    let value = "v".repeat(10_000);
    for round in 0..3 {
        for at in 0..300 {
            let reply = client.run(&format!("SET key:{at} {round}{value}"));
            assert_eq!(reply, "+OK");
        }
        client.run(&format!("HSET hash round {round}"));
        let started = Instant::now();
        while tables(directory.path()) <= before {
            assert!(started.elapsed() < CLOSE_TIME, "no table is written");
            std::thread::yield_now();
        }
    }
    let mut client = reopen(client, directory.path());
    for at in 0..300 {
        assert_eq!(client.run(&format!("STRLEN key:{at}")), ":10001");
    }
    assert_eq!(client.run("HGET hash round"), "$1 2");
}

#[test]
fn everything_is_there_after_a_restart() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut client = open(directory.path(), Durability::EverySecond).expect("an empty directory");
    let long = "x".repeat(100_000);
    let script = [
        ("SET text value", "+OK"),
        ("SET mortal value PX 5000", "+OK"),
        ("APPEND grown abc", ":3"),
        ("APPEND grown def", ":6"),
        ("HSET hash a 1 b 2 c 3", ":3"),
        ("HDEL hash b", ":1"),
        ("HSET timed a 1 b 2 c 3", ":3"),
        ("HPEXPIREAT timed 4000000000000 FIELDS 2 a b", "*2 :1 :1"),
        ("HPERSIST timed FIELDS 1 b", "*1 :1"),
        ("RPUSH list 1 2 3 4 5 6 7", ":7"),
        ("LPUSH list 0", ":8"),
        ("LREM list 1 3", ":1"),
        ("LREM list 1 6", ":1"),
        ("LINSERT list BEFORE 5 new", ":7"),
        ("LINSERT list AFTER 0 second", ":8"),
        ("LSET list 2 third", "+OK"),
        ("RPOP list", "$1 7"),
        ("LPOP list", "$1 0"),
        ("RPUSH trimmed 1 2 3 4 5 6", ":6"),
        ("LTRIM trimmed 1 3", "+OK"),
        ("RPUSH emptied 1 2", ":2"),
        ("LPOP emptied 2", "*2 $1 1 $1 2"),
        ("RPUSH emptied 3", ":1"),
        ("SADD set a b c", ":3"),
        ("SREM set b", ":1"),
        ("ZADD zset 1.5 a -2 b inf c", ":3"),
        ("ZINCRBY zset 1 a", "$3 2.5"),
        ("ZREM zset b", ":1"),
        ("SADD gone a", ":1"),
        ("DEL gone", ":1"),
        ("SADD replaced a", ":1"),
        ("SET replaced text", "+OK"),
        ("HSET renamed f v", ":1"),
        ("RENAME renamed new-name", "+OK"),
        ("COPY hash copy", ":1"),
        ("HSET copy a 100", ":0"),
        ("PEXPIRE set 7000", ":1"),
        ("PERSIST mortal", ":1"),
        ("PEXPIRE mortal 9000", ":1"),
        ("MOVE trimmed 3", ":1"),
        ("SWAPDB 0 5", "+OK"),
        ("SET swapped here", "+OK"),
        ("SWAPDB 0 5", "+OK"),
    ];
    client.expect(&script);
    client.raw(&[b"SET", long.as_bytes(), b"long key"]);
    client.raw(&[b"HSET", b"hash", long.as_bytes(), b"long field"]);
    client.raw(&[b"HSET", b"hash", b"long value", long.as_bytes()]);
    let checks = [
        "GET text",
        "GET mortal",
        "PTTL mortal",
        "GET grown",
        "LRANGE list 0 -1",
        "LRANGE emptied 0 -1",
        "SMISMEMBER set a b c",
        "PTTL set",
        "ZRANGE zset 0 -1 WITHSCORES",
        "EXISTS gone renamed",
        "GET replaced",
        "HGETALL new-name",
        "HMGET copy a b c",
        "HMGET hash a b c",
        "HLEN hash",
        "HPEXPIRETIME timed FIELDS 3 a b c",
        "HGETALL timed",
        "DBSIZE",
    ];
    let tell = |client: &mut Client| -> Vec<String> {
        let mut replies: Vec<String> = checks.iter().map(|check| client.run(check)).collect();
        replies.push(String::from_utf8_lossy(&client.raw(&[b"GET", long.as_bytes()])).into_owned());
        let field = [&b"HGET"[..], b"hash", long.as_bytes()];
        replies.push(String::from_utf8_lossy(&client.raw(&field)).into_owned());
        let value = client.raw(&[b"HSTRLEN", b"hash", b"long value"]);
        replies.push(String::from_utf8_lossy(&value).into_owned());
        for database in ["3", "5"] {
            assert!(
                client
                    .store
                    .select(&mut client.session, database.as_bytes())
                    .is_ok()
            );
            replies.push(client.run("LRANGE trimmed 0 -1"));
            replies.push(client.run("GET swapped"));
        }
        assert!(client.store.select(&mut client.session, b"0").is_ok());
        replies
    };
    let before = tell(&mut client);
    assert_eq!(before[4], "*6 $6 second $5 third $1 2 $1 4 $3 new $1 5");
    for _ in 0..3 {
        client = reopen(client, directory.path());
        assert_eq!(tell(&mut client), before);
    }
    // Loaded data can be changed field by field.
    client.expect(&[
        ("HSET hash d 4", ":1"),
        ("RPUSH list tail", ":7"),
        ("LPUSH list head", ":8"),
    ]);
    client = reopen(client, directory.path());
    client.expect(&[
        ("HGET hash d", "$1 4"),
        ("LINDEX list 0", "$4 head"),
        ("LINDEX list -1", "$4 tail"),
    ]);
}

#[test]
fn a_closed_store_is_on_disk_though_others_still_hold_it() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut client = open(directory.path(), Durability::EverySecond).expect("an empty directory");
    let others = client.store.clone();
    let mut begun = others.begin(0, Mode::Write);
    assert_eq!(begun.delete(b"absent"), Ok(false));
    client.expect(&[("SET key value", "+OK")]);
    client.store.close(CLOSE_TIME).expect("a disk that works");
    client.store.close(CLOSE_TIME).expect("a disk that works");
    client.expect(&[("GET key", "$5 value")]);
    let refused = client.run("SET key other");
    assert!(
        refused.starts_with("-MISCONF ") && refused.contains("the store is closed"),
        "{refused}"
    );
    let written = begun.set(
        b"key",
        b"third",
        ferrite_protocol::keyspace::SetCondition::Always,
        ferrite_protocol::keyspace::SetExpiry::None,
    );
    assert_eq!(written, Ok(true));
    assert!(begun.commit().is_err(), "nothing would write it");

    let mut again = open(directory.path(), Durability::EverySecond).expect("nobody else has it");
    again.expect(&[("GET key", "$5 value")]);
    drop(others);
}

#[test]
fn large_collections_and_flushed_databases_leave_nothing_behind() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut client = open(directory.path(), Durability::No).expect("an empty directory");
    for i in 0..3_000 {
        client.run(&format!("SADD large {i}"));
        client.run(&format!("HSET hash:{i} f v"));
    }
    client.expect(&[
        ("DEL large", ":1"),
        ("FLUSHDB", "+OK"),
        ("SADD large only", ":1"),
    ]);
    for _ in 0..2 {
        client = reopen(client, directory.path());
        client.expect(&[("SMEMBERS large", "*1 $4 only"), ("DBSIZE", ":1")]);
    }
}

#[test]
fn random_commands_leave_the_same_data_on_disk_as_in_memory() {
    for seed in 0..20 {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut client = open(directory.path(), Durability::No).expect("an empty directory");
        let mut generator = crate::differential::Generator::new(seed);
        for _ in 0..600 {
            let argv = generator.command();
            let argv: Vec<&[u8]> = argv.iter().map(Vec::as_slice).collect();
            client.raw(&argv);
        }
        let before = dump(&mut client);
        client = reopen(client, directory.path());
        assert_eq!(dump(&mut client), before, "seed {seed}");
    }
}

/// All data as replies, the elements of unordered collections sorted.
fn dump(client: &mut Client) -> Vec<String> {
    let mut all = Vec::new();
    for database in ["0", "1"] {
        assert!(
            client
                .store
                .select(&mut client.session, database.as_bytes())
                .is_ok()
        );
        all.push(client.run("DBSIZE"));
        for key in ["a", "b", "c", "d", "e", "f", "g"] {
            all.push(client.run(&format!("PEXPIRETIME {key}")));
            for read in ["GET", "LRANGE", "ZRANGE", "SMEMBERS", "HGETALL"] {
                let tail = match read {
                    "LRANGE" => " 0 -1",
                    "ZRANGE" => " 0 -1 WITHSCORES",
                    _ => "",
                };
                let reply = client.run(&format!("{read} {key}{tail}"));
                let mut parts: Vec<&str> = reply.split('$').map(str::trim_end).collect();
                if matches!(read, "SMEMBERS" | "HGETALL") {
                    parts.sort_unstable();
                }
                all.push(format!("{database} {read} {key}: {}", parts.join("$")));
            }
        }
    }
    assert!(client.store.select(&mut client.session, b"0").is_ok());
    all
}

/// Variable with the folder that the child process of the kill test writes to.
const VICTIM: &str = "FERRITE_STORE_VICTIM";
/// Threads of the victim; each has its own keys and shares one key with the others.
const WORKERS: usize = 3;

/// Does nothing outside of the kill test's child process; there it commits until it is killed.
#[test]
fn victim() {
    let Ok(setting) = std::env::var(VICTIM) else {
        return;
    };
    let (durability, directory) = setting.split_once(':').expect("two settings");
    let durability = if durability == "always" {
        Durability::Always
    } else {
        Durability::EverySecond
    };
    let client = open(Path::new(directory), durability).expect("data that a kill left behind");
    let store = &client.store;
    std::thread::scope(|scope| {
        for worker in 0..WORKERS {
            scope.spawn(move || {
                loop {
                    let mut transaction = store.begin(0, Mode::Write);
                    let Ok(number) = step(&mut transaction, worker) else {
                        continue;
                    };
                    let Ok(receipt) = transaction.commit() else {
                        continue;
                    };
                    assert_eq!(receipt.wait(), Ok(()));
                    let mut out = std::io::stdout().lock();
                    // The parent may have ended already.
                    let _ = writeln!(out, "done {worker} {number}");
                    let _ = out.flush();
                }
            });
        }
    });
}

/// One transaction on four keys of different types that must agree.
pub(crate) fn step(transaction: &mut Transaction, worker: usize) -> Result<i64, StoreError> {
    let key = |name: &str| format!("{name}:{worker}").into_bytes();
    let number = transaction.increment(&key("counter"), 1)?;
    let text = number.to_string();
    transaction.hash_set(&key("hash"), b"number", text.as_bytes())?;
    transaction.hash_set(
        &key("hash"),
        format!("field {}", number % 50).as_bytes(),
        b"v",
    )?;
    let mut out = crate::client::Encoder::new(ferrite_protocol::resp::Protocol::Resp2);
    let list = key("list");
    transaction.execute(&[b"RPUSH", &list, text.as_bytes()], &|_| true, &mut out);
    transaction.execute(&[b"LTRIM", &list, b"-20", b"-1"], &|_| true, &mut out);
    // A string in pages, and a list with a log of edits.
    let (pages, edited) = (key("pages"), key("edited"));
    if number == 1 {
        transaction.execute(&[b"SETRANGE", &pages, b"9999", b"x"], &|_| true, &mut out);
        let mut fill = vec![&b"RPUSH"[..], &edited];
        fill.resize(2 + 300, b"e");
        fill.insert(150, b"pivot");
        transaction.execute(&fill, &|_| true, &mut out);
    }
    let line = format!("{number:08}");
    transaction.execute(&[b"APPEND", &pages, line.as_bytes()], &|_| true, &mut out);
    transaction.execute(
        &[b"LINSERT", &edited, b"AFTER", b"pivot", text.as_bytes()],
        &|_| true,
        &mut out,
    );
    transaction.increment(b"total", 1)?;
    Ok(number)
}

fn kill_rounds(durability: Durability, name: &str) {
    let mut directory = tempfile::tempdir().expect("a temporary directory");
    let seconds = std::env::var("FERRITE_KILL_SECONDS")
        .ok()
        .and_then(|s| s.parse().ok());
    let until = Instant::now() + Duration::from_secs(seconds.unwrap_or(5));
    let mut random = fastrand::Rng::new();
    let mut rounds = 0;
    while Instant::now() < until {
        // Most rounds continue from the state that the previous kill left.
        if rounds % 50 == 49 {
            directory = tempfile::tempdir().expect("a temporary directory");
        }
        let acknowledged = victim_until_killed(name, directory.path(), &mut random);
        let mut client = open(directory.path(), durability).unwrap_or_else(|error| {
            panic!(
                "round {rounds}: {error}: {:?}",
                std::error::Error::source(&error)
            )
        });
        let mut total = 0;
        for (worker, acknowledged) in acknowledged.iter().enumerate() {
            let text = client.run(&format!("GET counter:{worker}"));
            let number: i64 = text
                .split(' ')
                .nth(1)
                .and_then(|n| n.parse().ok())
                .unwrap_or(0);
            if durability == Durability::Always {
                assert!(
                    number >= *acknowledged,
                    "{number} of {acknowledged} in round {rounds}"
                );
            }
            total += number;
            if number > 0 {
                let last = client.run(&format!("LINDEX list:{worker} -1"));
                assert_eq!(last, text, "round {rounds}");
                let len = client.run(&format!("LLEN list:{worker}"));
                assert_eq!(len, format!(":{}", number.min(20)), "round {rounds}");
                let field = client.run(&format!("HGET hash:{worker} number"));
                assert_eq!(field, text, "round {rounds}");
                let len = client.run(&format!("STRLEN pages:{worker}"));
                assert_eq!(len, format!(":{}", 10_000 + 8 * number), "round {rounds}");
                let end = client.run(&format!("GETRANGE pages:{worker} -8 -1"));
                assert_eq!(end, format!("$8 {number:08}"), "round {rounds}");
                let len = client.run(&format!("LLEN edited:{worker}"));
                assert_eq!(len, format!(":{}", 301 + number), "round {rounds}");
                let newest = client.run(&format!("LINDEX edited:{worker} 149"));
                assert_eq!(newest, text, "round {rounds}");
            }
        }
        let sum = client.run("GET total");
        if total > 0 {
            assert_eq!(
                sum.split(' ').nth(1),
                Some(total.to_string().as_str()),
                "round {rounds}"
            );
        }
        rounds += 1;
    }
    println!("{rounds} rounds");
    assert!(rounds > 0);
}

/// Runs a victim for a random moment; returns the last number each worker had acknowledged.
fn victim_until_killed(name: &str, directory: &Path, random: &mut fastrand::Rng) -> [i64; WORKERS] {
    let mut child = Command::new(std::env::current_exe().expect("this test's path"))
        .args([
            "--exact",
            "durability::victim",
            "--nocapture",
            "--test-threads",
            "1",
        ])
        .env(VICTIM, format!("{name}:{}", directory.display()))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("this test runs once more");
    let output = child.stdout.take().expect("a piped output");
    let mut acknowledged = [0; WORKERS];
    let mut left = random.u32(0..60);
    for line in BufReader::new(output).lines() {
        let Ok(line) = line else { break };
        if let Some(done) = line.strip_prefix("done ") {
            let mut numbers = done
                .split(' ')
                .filter_map(|number| number.parse::<i64>().ok());
            if let (Some(worker), Some(number)) = (numbers.next(), numbers.next()) {
                acknowledged[worker as usize] = number;
            }
            // Reads the rest of the output that it wrote before the kill.
            if left == 0 {
                child.kill().expect("a child to kill");
            }
            left = left.saturating_sub(1);
        }
    }
    child.wait().expect("a child to wait for");
    acknowledged
}

#[test]
fn with_always_no_kill_loses_an_acknowledged_commit_or_leaves_half_of_one() {
    kill_rounds(Durability::Always, "always");
}

#[test]
fn with_everysec_no_kill_leaves_half_of_a_commit() {
    kill_rounds(Durability::EverySecond, "everysec");
}

#[test]
fn damage_is_reported_or_harmless_but_never_believed() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut client = open(directory.path(), Durability::Always).expect("an empty directory");
    for i in 0..200 {
        client.run(&format!("SET key:{i} {i}"));
        client.run(&format!("RPUSH list {i}"));
        client
            .session
            .take_receipt()
            .map(ferrite_store::Receipt::wait);
    }
    let expected = (
        client.run("DBSIZE"),
        client.run("LRANGE list 0 -1"),
        client.run("GET key:7"),
    );
    drop(client);
    let mut random = fastrand::Rng::with_seed(5);
    let (mut reported, mut harmless) = (0, 0);
    for round in 0..60 {
        let copy = tempfile::tempdir().expect("a temporary directory");
        copy_tree(directory.path(), copy.path());
        let victims = files(copy.path());
        let file = &victims[random.usize(..victims.len())];
        let mut bytes = std::fs::read(file).expect("a file to damage");
        // Journals are allocated ahead of time; this damages the used part.
        let used = bytes
            .iter()
            .rposition(|byte| *byte != 0)
            .map_or(0, |at| at + 1);
        if used == 0 {
            continue;
        }
        match round % 2 {
            0 => bytes[random.usize(..used)] ^= 1 << random.u8(..8),
            _ => bytes.truncate(random.usize(..used)),
        }
        std::fs::write(file, bytes).expect("a file to write");
        // Damage to a directory's own files may make the engine panic.
        let opened = std::panic::catch_unwind(|| open(copy.path(), Durability::Always));
        match opened {
            Ok(Ok(mut client)) => {
                let found = (
                    client.run("DBSIZE"),
                    client.run("LRANGE list 0 -1"),
                    client.run("GET key:7"),
                );
                assert_eq!(found, expected, "damage to {}", file.display());
                harmless += 1;
            }
            Ok(Err(_)) | Err(_) => reported += 1,
        }
    }
    println!("{reported} reported, {harmless} harmless");
    assert!(reported > 0);
}

fn files(directory: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).expect("a directory").flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn copy_tree(from: &Path, to: &Path) {
    for file in files(from) {
        let target = to.join(file.strip_prefix(from).expect("a file inside"));
        std::fs::create_dir_all(target.parent().expect("a parent")).expect("a directory");
        std::fs::copy(&file, target).expect("a copy");
    }
}

#[test]
fn a_full_disk_refuses_writes_and_serves_reads_until_there_is_room() {
    let mount = tempfile::tempdir().expect("a temporary directory");
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=96m", "tmpfs"])
        .arg(mount.path())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !mounted {
        println!("skipped: no file system can be mounted here");
        return;
    }
    let _unmount = Unmount(mount.path());
    let mut client = open(mount.path(), Durability::Always).expect("an empty directory");
    client.run("SET before kept");
    let ballast = mount.path().join("ballast");
    fill(&ballast);
    let mut refused = false;
    for i in 0..10_000 {
        let reply = client.run(&format!("SET key:{i} value"));
        let written = client
            .session
            .take_receipt()
            .is_none_or(|receipt| receipt.wait().is_ok());
        if !written || reply.starts_with("-MISCONF") {
            refused = true;
            break;
        }
    }
    assert!(refused);
    assert_eq!(
        client.run("SET another x"),
        "-MISCONF Errors writing to the AOF file: No space left on device"
    );
    assert_eq!(client.run("GET before"), "$4 kept");
    std::fs::remove_file(ballast).expect("ballast to remove");
    while client.run("SET after kept").starts_with('-') {
        std::thread::yield_now();
    }
    assert_eq!(
        client
            .session
            .take_receipt()
            .map(ferrite_store::Receipt::wait),
        Some(Ok(()))
    );
    let size = client.run("DBSIZE");
    let mut client = reopen(client, mount.path());
    client.expect(&[
        ("GET before", "$4 kept"),
        ("GET after", "$4 kept"),
        ("DBSIZE", &size),
    ]);
}

struct Unmount<'p>(&'p Path);

impl Drop for Unmount<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0).status();
    }
}

/// Writes zeros until the disk is full.
fn fill(path: &Path) {
    let mut file = std::fs::File::create(path).expect("a file");
    let block = vec![0; 64 << 10];
    while file.write_all(&block).is_ok() {}
}
