//! Killed at any step, a change leaves the old state or the new one.

use std::collections::HashSet;
use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use ferrite_cache::{Cache, CacheOptions, Step};
use rustix::process::{Signal, getpid, kill_process};

use crate::fixture::{Example, Fixture, child_argument, open, replace, spawn};

/// Task of a child, and the step at which it dies: "operation step directory".
struct Job {
    operation: String,
    dies_at: usize,
    root: PathBuf,
}

impl Job {
    fn parse(text: &str) -> Self {
        let mut words = text.splitn(3, ' ');
        let mut word = || words.next().expect("three words").to_owned();
        Self {
            operation: word(),
            dies_at: word().parse().expect("a number"),
            root: word().into(),
        }
    }
}

#[test]
#[ignore = "started by the others, which tell it what to do"]
#[expect(clippy::print_stdout, reason = "the parent reads where the child died")]
fn child() {
    let Some(argument) = child_argument() else {
        return;
    };
    let job = Job::parse(&argument);
    let steps = AtomicUsize::new(0);
    let cache = Cache::open_observed(
        CacheOptions {
            root: job.root,
            size_bytes_max: 0,
        },
        move |step| {
            if steps.fetch_add(1, Ordering::Relaxed) == job.dies_at {
                println!("died at {step:?}");
                // Nothing is flushed, dropped or unlocked.
                kill_process(getpid(), Signal::KILL).expect("it is ourselves");
            }
        },
    )
    .expect("the cache opens");
    let example = Example::new("one");
    match job.operation.as_str() {
        "publish" => drop(example.publish(&cache)),
        "source" => drop(cache.put_source(&example.source).expect("ok")),
        "lookup" => assert!(example.lookup(&cache).is_none()),
        "evict" => drop(cache.evict(&HashSet::new()).expect("ok")),
        "lock" => {
            let _lock = cache
                .lock(&example.digest(), &example.manifest.profile)
                .expect("ok");
            example.publish(&cache);
        }
        other => panic!("no operation {other}"),
    }
}

/// Runs an operation in children that die at its first step, at its second, and so on, until one
/// lives. `before` prepares the cache and `after` looks at what each has left.
fn at_every_step(
    operation: &str,
    before: impl Fn(&Fixture),
    after: impl Fn(&Fixture, Option<Step>),
) -> Vec<Step> {
    let mut steps = Vec::new();
    for dies_at in 0.. {
        let fixture = Fixture::new();
        before(&fixture);
        let root = fixture.cache.root().display();
        let child = spawn("crash::child", &format!("{operation} {dies_at} {root}"));
        let output = child.wait_with_output().expect("it ends");
        let text = String::from_utf8_lossy(&output.stdout);
        if output.status.success() {
            after(&fixture, None);
            return steps;
        }
        assert_eq!(
            output.status.signal(),
            Some(Signal::KILL.as_raw()),
            "{text}"
        );
        let name = text
            .lines()
            .find_map(|line| line.split("died at ").nth(1))
            .expect("it said where it died");
        let step = ALL_STEPS
            .into_iter()
            .find(|step| format!("{step:?}") == name)
            .expect("there is such a step");
        steps.push(step);
        after(&fixture, Some(step));
        leaves_nothing_behind(&fixture);
    }
    unreachable!("the loop has no end but the return")
}

const ALL_STEPS: [Step; 12] = [
    Step::Created,
    Step::HalfWritten,
    Step::Written,
    Step::Synced,
    Step::Locked,
    Step::SourceNamed,
    Step::ArtifactNamed,
    Step::ManifestNamed,
    Step::DirectorySynced,
    Step::Suspected,
    Step::ManifestQuarantined,
    Step::ManifestEvicted,
];

/// Checks that the next to open the cache removes temporary files, once they are old enough to be
/// nobody's, and locks; and that eviction removes half-published entries.
fn leaves_nothing_behind(fixture: &Fixture) {
    for name in fixture.names("tmp") {
        make_old(&fixture.path("tmp").join(name));
    }
    let cache = open(fixture.cache.root());
    assert!(fixture.names("tmp").is_empty());
    assert!(
        fixture.names("lock").iter().all(|name| name == "change"),
        "{:?}",
        fixture.names("lock")
    );
    cache.evict(&HashSet::new()).expect("ok");
    let complete: usize = cache
        .list()
        .expect("ok")
        .iter()
        .map(|entry| 2 * entry.artifacts.len())
        .sum();
    let fingerprint = Example::new("one").manifest.profile.fingerprint();
    assert_eq!(fixture.names(&fingerprint.to_string()).len(), complete);
    assert_eq!(cache.usage().expect("ok").temporary_bytes, 0);
}

fn make_old(path: &Path) {
    let hour_ago = SystemTime::now() - Duration::from_secs(3_600);
    File::open(path)
        .and_then(|file| file.set_modified(hour_ago))
        .expect("it is ours");
}

#[test]
fn a_publish_leaves_the_old_state_or_the_new_one() {
    let example = Example::new("one");
    let steps = at_every_step(
        "publish",
        |_| {},
        |fixture, died| {
            let published = matches!(
                died,
                None | Some(Step::ManifestNamed | Step::DirectorySynced)
            );
            assert_eq!(example.is_in(&fixture.cache), published, "{died:?}");
            // The dead child's locks are free, and the next publish completes the entry.
            drop(
                fixture
                    .cache
                    .lock(&example.digest(), &example.manifest.profile)
                    .expect("ok"),
            );
            example.publish(&fixture.cache);
            assert!(example.is_in(&fixture.cache), "{died:?}");
        },
    );
    let file = [Step::Created, Step::HalfWritten, Step::Written];
    let names = [
        Step::Synced,
        Step::Synced,
        Step::Locked,
        Step::ArtifactNamed,
        Step::ManifestNamed,
        Step::DirectorySynced,
    ];
    assert_eq!(steps, [&file[..], &file[..], &names[..]].concat());
}

#[test]
fn a_publish_in_place_of_something_damaged_does_so_too() {
    let example = Example::new("one");
    let steps = at_every_step(
        "publish",
        |fixture| {
            example.publish(&fixture.cache);
            replace(&example.artifact_path(&fixture.cache), b"damaged");
        },
        |fixture, died| {
            let published = matches!(
                died,
                None | Some(Step::ManifestNamed | Step::DirectorySynced)
            );
            assert_eq!(example.is_in(&fixture.cache), published, "{died:?}");
            example.publish(&fixture.cache);
            assert!(example.is_in(&fixture.cache), "{died:?}");
        },
    );
    assert_eq!(steps[..2], [Step::Suspected, Step::ManifestQuarantined]);
    assert_eq!(steps.len(), 14);
}

#[test]
fn storing_a_source_leaves_it_stored_or_not() {
    let example = Example::new("one");
    let steps = at_every_step(
        "source",
        |_| {},
        |fixture, died| {
            let found = fixture.cache.source(&example.digest()).expect("ok");
            let stored = matches!(died, None | Some(Step::SourceNamed | Step::DirectorySynced));
            assert_eq!(
                found.as_deref(),
                stored.then_some(example.source.as_slice()),
                "{died:?}"
            );
            fixture.cache.put_source(&example.source).expect("ok");
            assert!(
                fixture
                    .cache
                    .source(&example.digest())
                    .expect("ok")
                    .is_some()
            );
        },
    );
    assert_eq!(steps.len(), 7);
}

#[test]
fn a_quarantine_leaves_a_miss() {
    let example = Example::new("one");
    let steps = at_every_step(
        "lookup",
        |fixture| {
            example.publish(&fixture.cache);
            replace(&example.artifact_path(&fixture.cache), b"damaged");
        },
        |fixture, died| {
            assert!(example.lookup(&fixture.cache).is_none(), "{died:?}");
            example.publish(&fixture.cache);
            assert!(example.is_in(&fixture.cache), "{died:?}");
        },
    );
    assert_eq!(steps, [Step::Suspected, Step::ManifestQuarantined]);
}

#[test]
fn an_eviction_leaves_whole_entries_or_none() {
    let (one, other) = (Example::new("one"), Example::new("other"));
    let steps = at_every_step(
        "evict",
        |fixture| {
            one.publish(&fixture.cache);
            other.publish(&fixture.cache);
        },
        |fixture, died| {
            let left = [&one, &other]
                .into_iter()
                .filter(|example| example.is_in(&fixture.cache))
                .count();
            // The cache's size is 0 for the child, so it evicts both.
            assert_eq!(fixture.cache.list().expect("ok").len(), left, "{died:?}");
            one.publish(&fixture.cache);
            assert!(one.is_in(&fixture.cache), "{died:?}");
        },
    );
    assert_eq!(steps, [Step::ManifestEvicted; 2]);
}

#[test]
fn the_lock_of_a_dead_compiler_is_free() {
    let example = Example::new("one");
    at_every_step(
        "lock",
        |_| {},
        |fixture, _| {
            let profile = &example.manifest.profile;
            let lock = fixture.cache.lock(&example.digest(), profile).expect("ok");
            drop(lock);
            assert!(fixture.names("lock").iter().all(|name| name == "change"));
        },
    );
}

#[test]
fn a_file_that_is_still_being_written_is_not_swept() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let root = directory.path().join("cache");
    let sweeping = root.clone();
    let seen = std::sync::Arc::new(AtomicUsize::new(0));
    let seen_by_observer = seen.clone();
    let cache = Cache::open_observed(
        CacheOptions {
            root: root.clone(),
            size_bytes_max: u64::MAX,
        },
        move |step| {
            if step == Step::HalfWritten {
                // However old it looks, its writer lives.
                let tmp = sweeping.join("v1/tmp");
                for entry in fs::read_dir(&tmp).expect("ok") {
                    make_old(&entry.expect("ok").path());
                    seen_by_observer.fetch_add(1, Ordering::Relaxed);
                }
                open(&sweeping);
            }
        },
    )
    .expect("ok");
    let example = Example::new("one");
    example.publish(&cache);
    assert!(example.is_in(&cache));
    assert!(seen.load(Ordering::Relaxed) > 0);
}
