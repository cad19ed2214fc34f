//! Many threads and processes at once.

use std::collections::HashSet;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, mpsc};
use std::time::Duration;

use ferrite_cache::{Cache, CacheError, CacheOptions, Origin, Step};
use rustix::fs::{FlockOperation, flock};

use crate::fixture::{
    Example, Fixture, bytes_of, child_argument, open, replace, spawn, wait_for_parent,
};

/// Time after which a wait counts as a hang.
const HANGS_AFTER: Duration = Duration::from_secs(60);

/// One of several artifacts for the same key, as different as compilers never make them.
fn variant(number: usize) -> Example {
    let mut example = Example::of_len("one", 20_000 + number);
    example.manifest.compile_micros = number as u64;
    example
}

#[test]
#[ignore = "started by the others, which tell it what to do"]
#[expect(clippy::print_stdout, reason = "the parent reads what the child got")]
fn publishing_child() {
    let Some(argument) = child_argument() else {
        return;
    };
    let (number, root) = argument.split_once(' ').expect("two words");
    let example = variant(number.parse().expect("a number"));
    let cache = open(root.as_ref());
    wait_for_parent();
    let published = example.publish(&cache);
    println!("got {}", published.manifest().compile_micros);
    assert_eq!(bytes_of(&published).len() as u64, published.len());
}

#[test]
fn processes_that_publish_one_key_agree_on_one_artifact() {
    for round in 0..5 {
        let fixture = Fixture::new();
        let mut children: Vec<_> = (0..8)
            .map(|number| {
                let argument = format!("{number} {}", fixture.cache.root().display());
                spawn("together::publishing_child", &argument)
            })
            .collect();
        // They start when their pipes are closed, all as good as at once.
        for child in &mut children {
            drop(child.stdin.take());
        }
        let winners: HashSet<String> = children
            .into_iter()
            .map(|child| {
                let output = child.wait_with_output().expect("it ends");
                let text = String::from_utf8_lossy(&output.stdout);
                assert!(output.status.success(), "{text}");
                let got = text.lines().find_map(|line| line.split("got ").nth(1));
                got.expect("it said what it got").to_owned()
            })
            .collect();
        assert_eq!(winners.len(), 1, "round {round}");
        let winner: usize = winners
            .iter()
            .next()
            .and_then(|number| number.parse().ok())
            .expect("a number");
        assert!(variant(winner).is_in(&fixture.cache));
        assert!(fixture.names("tmp").is_empty());
        assert!(fixture.names("quarantine").is_empty());
    }
}

#[test]
#[ignore = "started by the others, which tell it what to do"]
fn compiling_child() {
    let Some(root) = child_argument() else {
        return;
    };
    let cache = open(root.as_ref());
    let example = Example::new("one");
    wait_for_parent();
    compile_unless_cached(&cache, &example);
}

/// Gets the example's artifact as a host does, and notes in a file that it was compiled.
fn compile_unless_cached(cache: &Cache, example: &Example) {
    let compile = || {
        let mut compiled = OpenOptions::new()
            .append(true)
            .create(true)
            .open(cache.root().join("compiled"))
            .expect("ok");
        compiled.write_all(b"x").expect("ok");
        Ok::<_, CacheError>(example.compiled())
    };
    let (artifact, _) = cache
        .get_or_compile(&example.digest(), &example.manifest.profile, compile)
        .expect("the disk works");
    assert_eq!(bytes_of(&artifact), example.artifact);
}

#[test]
fn a_key_is_compiled_once_by_all_processes_and_threads_together() {
    for _ in 0..3 {
        let fixture = Fixture::new();
        let example = Example::new("one");
        let mut children: Vec<_> = (0..6)
            .map(|_| {
                let root = fixture.cache.root().display().to_string();
                spawn("together::compiling_child", &root)
            })
            .collect();
        for child in &mut children {
            drop(child.stdin.take());
        }
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| compile_unless_cached(&fixture.cache, &example));
            }
        });
        for child in children {
            let output = child.wait_with_output().expect("it ends");
            assert!(output.status.success());
        }
        let compiled = std::fs::read(fixture.cache.root().join("compiled")).expect("ok");
        assert_eq!(compiled, b"x");
        assert!(example.is_in(&fixture.cache));
        assert_eq!(fixture.names("lock"), ["change"]);
    }
}

#[test]
fn a_caller_that_waited_for_the_lock_gets_what_its_holder_published() {
    let fixture = Fixture::new();
    let example = Example::new("one");
    let (digest, profile) = (example.digest(), &example.manifest.profile);
    let lock = fixture.cache.lock(&digest, profile).expect("ok");
    let name = fixture.names("lock").pop().expect("there is one");
    let path = fixture.path("lock").join(name);
    let inode = std::fs::metadata(path).expect("it is there").ino();
    let returned = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let got = fixture
                .cache
                .get_or_compile(&digest, profile, || Err(Refused::ByCompiler));
            returned.store(true, Ordering::SeqCst);
            got
        });
        until_waited_for(inode, &returned);
        assert!(!returned.load(Ordering::SeqCst), "it did not wait");
        example.publish(&fixture.cache);
        drop(lock);
        let (artifact, origin) = waiting
            .join()
            .expect("it returns")
            .expect("nothing is compiled");
        assert_eq!(origin, Origin::Cache);
        assert_eq!(bytes_of(&artifact), example.artifact);
    });
    assert_eq!(fixture.names("lock"), ["change"]);
}

/// An error that [`Cache::get_or_compile`] can return.
#[derive(Debug)]
enum Refused {
    ByCompiler,
    ByCache,
}

impl From<CacheError> for Refused {
    fn from(_: CacheError) -> Self {
        Self::ByCache
    }
}

#[test]
fn a_compilation_that_fails_frees_the_key_and_publishes_nothing() {
    let fixture = Fixture::new();
    let example = Example::new("one");
    let (digest, profile) = (example.digest(), &example.manifest.profile);
    let refused = fixture
        .cache
        .get_or_compile(&digest, profile, || Err(Refused::ByCompiler));
    assert!(matches!(refused, Err(Refused::ByCompiler)));
    assert!(!example.is_in(&fixture.cache));
    assert_eq!(fixture.names("lock"), [""; 0]);

    let get = || {
        let compile = || Ok::<_, Refused>(example.compiled());
        let (_, origin) = fixture
            .cache
            .get_or_compile(&digest, profile, compile)
            .expect("ok");
        origin
    };
    assert_eq!(get(), Origin::Compiled);
    assert_eq!(get(), Origin::Cache);
    assert_eq!(
        fixture.cache.source(&digest).expect("ok"),
        Some(example.source.clone())
    );
    // Bytes that the manifest does not describe are no fault of the disk.
    let other = Example::new("other");
    let forged = fixture.cache.get_or_compile_with(
        &other.digest(),
        profile,
        || Ok(None),
        |error| {
            assert!(!error.is_storage(), "{error}");
            Err(error)
        },
        || {
            let mut compiled = other.compiled();
            compiled.artifact.push(0);
            Ok(compiled)
        },
    );
    assert!(matches!(forged, Err(CacheError::Publish(_))));
    let refused = fixture.cache.get_or_compile(&other.digest(), profile, || {
        let mut compiled = other.compiled();
        compiled.artifact.push(0);
        Ok::<_, Refused>(compiled)
    });
    assert!(matches!(refused, Err(Refused::ByCache)));
}

#[test]
fn the_lock_of_one_key_holds_up_no_other() {
    let fixture = Fixture::new();
    let profile = Example::new("one").manifest.profile;
    let first = fixture
        .cache
        .lock(&Example::new("one").digest(), &profile)
        .expect("ok");
    let other = fixture
        .cache
        .lock(&Example::new("other").digest(), &profile)
        .expect("ok");
    // And another process that takes the lock can publish.
    Example::new("one").publish(&fixture.cache);
    drop((first, other));
    assert_eq!(fixture.names("lock"), ["change"]);
}

#[test]
fn one_holds_a_lock_at_a_time() {
    let fixture = Fixture::new();
    let example = Example::new("one");
    let (digest, profile) = (example.digest(), &example.manifest.profile);
    let held = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..50 {
                    let lock = fixture.cache.lock(&digest, profile).expect("ok");
                    assert!(!held.swap(true, Ordering::SeqCst), "two hold the lock");
                    held.store(false, Ordering::SeqCst);
                    drop(lock);
                }
            });
        }
    });
    assert_eq!(fixture.names("lock"), [""; 0]);
}

#[test]
fn the_lock_of_a_file_that_lost_its_name_is_none() {
    let fixture = Fixture::new();
    let example = Example::new("one");
    let (digest, profile) = (example.digest(), &example.manifest.profile);
    let lock = fixture.cache.lock(&digest, profile).expect("ok");
    let name = fixture.names("lock").pop().expect("there is one");
    let path = fixture.path("lock").join(name);
    drop(lock);

    let first = std::fs::File::create(&path).expect("nobody has it");
    flock(&first, FlockOperation::LockExclusive).expect("nobody has it");
    let inode = || std::fs::metadata(&path).expect("it is there").ino();
    let (first_inode, got_it) = (inode(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let lock = fixture.cache.lock(&digest, profile).expect("ok");
            got_it.store(true, Ordering::SeqCst);
            drop(lock);
        });
        until_waited_for(first_inode, &got_it);
        // The holder removes the file, and before it lets go somebody else has made and locked
        // another one of that name. What the one that waits gets then is worth nothing.
        std::fs::remove_file(&path).expect("it is ours");
        let second = fixture.cache.lock(&digest, profile).expect("nobody has it");
        let second_inode = inode();
        assert_ne!(first_inode, second_inode);
        drop(first);

        until_waited_for(second_inode, &got_it);
        assert!(!got_it.load(Ordering::SeqCst), "two hold the lock");
        drop(second);
        waiting.join().expect("it gets the lock in the end");
    });
    assert!(got_it.into_inner());
}

/// Waits until somebody waits for the lock of this file, or `got_it`.
fn until_waited_for(inode: u64, got_it: &AtomicBool) {
    let file = format!(":{inode} ");
    while !got_it.load(Ordering::SeqCst) {
        let locks = std::fs::read_to_string("/proc/locks").expect("the system tells");
        if locks
            .lines()
            .any(|line| line.contains("->") && line.contains(&file))
        {
            return;
        }
        std::thread::yield_now();
    }
}

#[test]
fn readers_find_the_whole_entry_or_none_while_others_publish_and_evict() {
    let fixture = Fixture::with_size(0);
    let example = Example::of_len("one", 5_000);
    let done = AtomicBool::new(false);
    let found = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let reader = || {
            while !done.load(Ordering::Relaxed) {
                // `is_in` compares every byte, and `lookup` fails on nothing but the disk.
                found.fetch_add(
                    usize::from(example.is_in(&fixture.cache)),
                    Ordering::Relaxed,
                );
            }
        };
        let readers = [scope.spawn(reader), scope.spawn(reader)];
        for _ in 0..100 {
            example.publish(&fixture.cache);
            fixture.cache.evict(&HashSet::new()).expect("ok");
        }
        // The last entry stays until somebody has seen it.
        example.publish(&fixture.cache);
        while found.load(Ordering::Relaxed) == 0
            && !readers
                .iter()
                .any(std::thread::ScopedJoinHandle::is_finished)
        {
            std::thread::yield_now();
        }
        done.store(true, Ordering::Relaxed);
        for reader in readers {
            reader.join().expect("no reader failed");
        }
    });
    assert!(fixture.names("quarantine").is_empty());
}

#[test]
fn what_looks_damaged_only_while_it_is_replaced_is_not_quarantined() {
    // A publisher stops between its two renames. A reader that has seen the old manifest now finds
    // the new artifact beside it, and wants to move both away; but it has to wait for the lock, and
    // to look again.
    let fixture = Fixture::new();
    let stopping_at = |step, stopped: mpsc::Sender<()>, go_on: mpsc::Receiver<()>| {
        let go_on = Mutex::new(go_on);
        let options = CacheOptions {
            root: fixture.cache.root().to_owned(),
            size_bytes_max: u64::MAX,
        };
        Cache::open_observed(options, move |reached| {
            if reached == step {
                stopped.send(()).expect("the test waits");
                let go_on = go_on.lock().expect("nobody panicked");
                go_on.recv().expect("the test goes on");
            }
        })
        .expect("ok")
    };
    let (named, is_named) = mpsc::channel();
    let (publish_on, may_publish) = mpsc::channel();
    let publisher = stopping_at(Step::ArtifactNamed, named, may_publish);
    let (suspected, is_suspected) = mpsc::channel();
    let (read_on, may_read) = mpsc::channel();
    let reader = stopping_at(Step::Suspected, suspected, may_read);

    let (old, new) = (variant(1), variant(2));
    let old_manifest = old.manifest.encode().expect("small enough");
    std::thread::scope(|scope| {
        let publishing = scope.spawn(|| new.publish(&publisher));
        // A thread that never gets there fails the test; the senders go, and free the others.
        let (publish_on, read_on) = (publish_on, read_on);
        is_named
            .recv_timeout(HANGS_AFTER)
            .expect("the publisher gets there");
        assert!(new.lookup(&fixture.cache).is_none());
        replace(&new.manifest_path(&fixture.cache), &old_manifest);

        let reading = scope.spawn(|| new.is_in(&reader));
        is_suspected
            .recv_timeout(HANGS_AFTER)
            .expect("the reader sees both");
        publish_on.send(()).expect("the publisher waits");
        publishing.join().expect("it publishes");
        read_on.send(()).expect("the reader waits");
        assert!(reading.join().expect("it reads"));
    });
    assert!(new.is_in(&fixture.cache));
    assert!(fixture.names("quarantine").is_empty());
}
