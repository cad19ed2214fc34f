//! Eviction makes room, oldest first, and leaves what is pinned or in use.

use std::collections::HashSet;
use std::fs::File;
use std::path::Path;
use std::time::{Duration, SystemTime};

use ferrite_cache::{Digest, Evicted, JavaScript};

use crate::fixture::{Example, Fixture, bytes_of, open, replace};

const HOUR: Duration = Duration::from_secs(3_600);

/// Sets a file's last use to this many hours ago.
fn last_used(path: &Path, hours_ago: u32) {
    File::open(path)
        .and_then(|file| file.set_modified(SystemTime::now() - HOUR * hours_ago))
        .expect("it is ours");
}

/// A cache that may hold `size_bytes_max`, with four entries of 10,000 bytes each; the first is the
/// one that was not used for longest.
fn four(size_bytes_max: u64) -> (Fixture, Vec<Example>) {
    let fixture = Fixture::with_size(size_bytes_max);
    let examples: Vec<_> = ["a", "b", "c", "d"]
        .into_iter()
        .map(|name| Example::of_len(name, 10_000))
        .collect();
    for (example, hours_ago) in examples.iter().zip([50, 40, 30, 20]) {
        fixture.cache.put_source(&example.source).expect("ok");
        example.publish(&fixture.cache);
        last_used(&example.manifest_path(&fixture.cache), hours_ago);
        last_used(&fixture.cache.source_path(&example.digest()), 60);
    }
    (fixture, examples)
}

fn evict(fixture: &Fixture, pinned: &[&Example]) -> Evicted {
    let pinned: HashSet<_> = pinned.iter().map(|example| example.digest()).collect();
    let evicted = fixture.cache.evict(&pinned).expect("ok");
    let usage = fixture.cache.usage().expect("ok");
    assert_eq!(evicted.left_bytes, usage.bytes());
    evicted
}

/// Returns the examples that still have an artifact; a lookup would count as a use.
fn left(fixture: &Fixture, examples: &[Example]) -> String {
    examples
        .iter()
        .filter(|example| example.artifact_path(&fixture.cache).exists())
        .map(|example| char::from(example.artifact[0]))
        .collect()
}

#[test]
fn what_was_not_used_for_longest_goes_first() {
    let (fixture, examples) = four(25_000);
    let evicted = evict(&fixture, &[]);
    assert_eq!(left(&fixture, &examples), "cd");
    assert_eq!((evicted.artifacts, evicted.sources), (2, 0));
    assert!(evicted.freed_bytes > 20_000 && evicted.left_bytes <= 25_000);
    for example in &examples {
        let source = fixture.cache.source(&example.digest()).expect("ok");
        assert!(source.is_some(), "sources stay");
    }
    assert_eq!(
        evict(&fixture, &[]),
        Evicted {
            left_bytes: evicted.left_bytes,
            ..Evicted::default()
        }
    );
}

#[test]
fn a_use_moves_an_entry_to_the_end_of_the_queue() {
    let (fixture, examples) = four(25_000);
    assert!(examples[0].is_in(&fixture.cache));
    evict(&fixture, &[]);
    assert_eq!(left(&fixture, &examples), "ad");
}

#[test]
fn a_use_is_recorded_once_an_hour_and_a_check_is_none() {
    let (fixture, examples) = four(u64::MAX);
    let manifest = examples[0].manifest_path(&fixture.cache);
    let modified = || {
        let metadata = std::fs::metadata(&manifest).expect("it is stored");
        metadata.modified().expect("the system knows")
    };
    let age = || modified().elapsed().unwrap_or_default();
    fixture.cache.verify().expect("ok");
    fixture.cache.list().expect("ok");
    assert!(age() > 49 * HOUR);
    assert!(examples[0].is_in(&fixture.cache));
    assert!(age() < HOUR);
    let recorded = modified();
    assert!(examples[0].is_in(&fixture.cache));
    assert_eq!(modified(), recorded);
}

#[test]
fn what_is_pinned_stays_whatever_its_age() {
    let (fixture, examples) = four(25_000);
    evict(&fixture, &[&examples[0], &examples[1]]);
    assert_eq!(left(&fixture, &examples), "ab");

    let (fixture, examples) = four(0);
    let pinned: Vec<_> = examples.iter().collect();
    let evicted = evict(&fixture, &pinned);
    assert_eq!(left(&fixture, &examples), "abcd");
    assert_eq!((evicted.artifacts, evicted.sources), (0, 0));
    assert!(evicted.left_bytes > fixture.cache.size_bytes_max());
}

#[test]
fn sources_go_only_when_no_artifact_is_left_that_could() {
    let (fixture, examples) = four(30);
    let evicted = evict(&fixture, &[]);
    assert_eq!(left(&fixture, &examples), "");
    assert_eq!(evicted.artifacts, 4);
    // Four sources of 11 bytes; the most recently used two fit.
    assert_eq!(evicted.sources, 2);
    for (example, stays) in examples.iter().zip([false, false, true, true]) {
        let source = fixture.cache.source(&example.digest()).expect("ok");
        assert_eq!(source.is_some(), stays);
    }
    let evicted = evict(&fixture, &[&examples[2]]);
    assert_eq!(evicted.sources, 0);
}

#[test]
fn a_pinned_source_stays_when_everything_else_goes() {
    let (fixture, examples) = four(0);
    let evicted = evict(&fixture, &[&examples[1]]);
    assert_eq!((evicted.artifacts, evicted.sources), (3, 3));
    assert!(examples[1].is_in(&fixture.cache));
    assert!(
        fixture
            .cache
            .source(&examples[1].digest())
            .expect("ok")
            .is_some()
    );
}

#[test]
fn the_engine_for_programs_stays_where_nothing_could_compile_it() {
    let (fixture, examples) = four(0);
    let mut engine = Example::new("engine");
    engine.source = JavaScript::engine();
    engine.manifest.source = Digest::of(&engine.source);
    fixture
        .cache
        .publish_with_source(&engine.source, &engine.manifest, &engine.artifact)
        .expect("the disk works");
    evict(&fixture, &[]);
    assert_eq!(left(&fixture, &examples), "");
    assert!(engine.is_in(&fixture.cache));
}

#[test]
fn code_that_is_in_use_outlives_its_eviction() {
    let (fixture, examples) = four(0);
    let in_use = examples[3].lookup(&fixture.cache).expect("it is stored");
    evict(&fixture, &[]);
    assert!(examples[3].lookup(&fixture.cache).is_none());
    assert_eq!(bytes_of(&in_use), examples[3].artifact);
    examples[3].publish(&fixture.cache);
    assert_eq!(bytes_of(&in_use), examples[3].artifact);
}

#[test]
fn the_quarantine_goes_before_anything_that_is_intact() {
    let (fixture, examples) = four(45_000);
    let damaged = Example::of_len("damaged", 10_000);
    damaged.publish(&fixture.cache);
    replace(&damaged.artifact_path(&fixture.cache), &[0; 10_000]);
    assert!(damaged.lookup(&fixture.cache).is_none());
    assert_eq!(fixture.names("quarantine").len(), 2);
    let evicted = evict(&fixture, &[]);
    assert!(fixture.names("quarantine").len() < 2);
    assert_eq!(evicted.artifacts, 0);
    assert_eq!(left(&fixture, &examples), "abcd");
}

#[test]
fn directories_of_profiles_that_nobody_uses_any_more_go_too() {
    let (fixture, examples) = four(0);
    let fingerprint = examples[0].manifest.profile.fingerprint().to_string();
    assert!(fixture.path(&fingerprint).exists());
    evict(&fixture, &[]);
    assert!(!fixture.path(&fingerprint).exists());
    examples[0].publish(&fixture.cache);
    assert!(examples[0].is_in(&fixture.cache));
}

#[test]
fn foreign_files_are_neither_counted_nor_removed() {
    let (fixture, _) = four(0);
    let foreign = fixture.path("source/notes.txt");
    std::fs::write(&foreign, "not ours").expect("ok");
    let evicted = evict(&fixture, &[]);
    assert_eq!(evicted.left_bytes, 0);
    assert!(foreign.exists());
}

#[test]
fn an_empty_cache_has_nothing_to_evict() {
    let fixture = Fixture::new();
    assert_eq!(evict(&fixture, &[]), Evicted::default());
    assert!(open(fixture.cache.root()).list().expect("ok").is_empty());
}

#[test]
fn pins_hold_for_whoever_evicts_and_lapse_with_their_holder() {
    let (fixture, examples) = four(0);
    let holder = |name: &str| {
        let path = fixture.directory.path().join(name);
        std::fs::write(&path, "a registry").expect("ok");
        path
    };
    let (one, other) = (holder("one"), holder("other"));
    let pin = |path, pinned: &[&Example]| {
        let pinned = pinned.iter().map(|example| example.digest()).collect();
        fixture.cache.pin(path, &pinned).expect("ok");
    };
    pin(&one, &[&examples[0], &examples[3]]);
    pin(&one, &[&examples[0], &examples[1]]);
    pin(&other, &[&examples[1], &examples[2]]);
    evict(&fixture, &[]);
    assert_eq!(left(&fixture, &examples), "abc");

    std::fs::remove_file(&one).expect("ok");
    evict(&fixture, &[]);
    assert_eq!(left(&fixture, &examples), "bc");
    assert_eq!(fixture.names("pin").len(), 1);
    assert!(
        fixture
            .cache
            .source(&examples[1].digest())
            .expect("ok")
            .is_some()
    );

    pin(&other, &[]);
    evict(&fixture, &[]);
    assert_eq!(left(&fixture, &examples), "");
}

#[test]
fn pins_that_cannot_be_read_keep_everything() {
    let (fixture, examples) = four(0);
    let pinned = HashSet::from([examples[0].digest()]);
    fixture
        .cache
        .pin(fixture.directory.path(), &pinned)
        .expect("ok");
    let name = fixture.names("pin").pop().expect("there is one");
    let path = fixture.path("pin").join(name);
    let good = std::fs::read(&path).expect("ok");
    for len in 0..good.len() {
        replace(&path, &good[..len]);
        let error = fixture
            .cache
            .evict(&HashSet::new())
            .expect_err("half of it");
        assert!(error.0.to_string().contains("read the pins in"));
    }
    assert_eq!(left(&fixture, &examples), "abcd");
    replace(&path, &good);
    evict(&fixture, &[]);
    assert_eq!(left(&fixture, &examples), "a");
}
