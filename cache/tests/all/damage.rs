//! Whatever is not what was stored is missed, moved away, and stored again.

use std::fs;

use ferrite_cache::Digest;

use crate::fixture::{Example, Fixture, replace};

/// Checks that a damaged entry is missed and moved away, and that it can be published again.
#[track_caller]
fn misses_and_heals(fixture: &Fixture, example: &Example, what: &str) {
    assert!(example.lookup(&fixture.cache).is_none(), "{what}");
    assert!(!example.manifest_path(&fixture.cache).exists(), "{what}");
    assert!(!example.artifact_path(&fixture.cache).exists(), "{what}");
    example.publish(&fixture.cache);
    assert!(example.is_in(&fixture.cache), "{what}");
}

/// An example in a cache, and the bytes of its two files.
fn stored() -> (Fixture, Example, Vec<u8>, Vec<u8>) {
    let fixture = Fixture::new();
    let example = Example::new("one");
    example.publish(&fixture.cache);
    let read = |path| fs::read(path).expect("it is stored");
    let artifact = read(example.artifact_path(&fixture.cache));
    let manifest = read(example.manifest_path(&fixture.cache));
    assert_eq!(artifact, example.artifact);
    (fixture, example, artifact, manifest)
}

#[test]
fn every_flipped_bit_of_an_artifact_is_noticed() {
    let (fixture, example, artifact, manifest) = stored();
    for at in 0..artifact.len() {
        for bit in 0..8 {
            let mut flipped = artifact.clone();
            flipped[at] ^= 1 << bit;
            replace(&example.artifact_path(&fixture.cache), &flipped);
            replace(&example.manifest_path(&fixture.cache), &manifest);
            assert!(
                example.lookup(&fixture.cache).is_none(),
                "bit {bit} of byte {at}"
            );
            assert!(!example.artifact_path(&fixture.cache).exists());
        }
    }
    misses_and_heals(&fixture, &example, "after all");
}

#[test]
fn every_flipped_bit_of_a_manifest_is_noticed() {
    let (fixture, example, artifact, manifest) = stored();
    for at in 0..manifest.len() {
        for bit in 0..8 {
            let mut flipped = manifest.clone();
            flipped[at] ^= 1 << bit;
            replace(&example.artifact_path(&fixture.cache), &artifact);
            replace(&example.manifest_path(&fixture.cache), &flipped);
            assert!(
                example.lookup(&fixture.cache).is_none(),
                "bit {bit} of byte {at}"
            );
            assert!(!example.manifest_path(&fixture.cache).exists());
        }
    }
    misses_and_heals(&fixture, &example, "after all");
}

#[test]
fn every_other_length_is_noticed() {
    let (fixture, example, artifact, manifest) = stored();
    for len in (0..artifact.len()).chain([artifact.len() + 1]) {
        let mut other = artifact.clone();
        other.resize(len, 0);
        replace(&example.artifact_path(&fixture.cache), &other);
        replace(&example.manifest_path(&fixture.cache), &manifest);
        assert!(example.lookup(&fixture.cache).is_none(), "{len} bytes");
    }
    for len in (0..manifest.len()).chain([manifest.len() + 1, 2 << 20]) {
        let mut other = manifest.clone();
        other.resize(len, 0);
        replace(&example.artifact_path(&fixture.cache), &artifact);
        replace(&example.manifest_path(&fixture.cache), &other);
        assert!(example.lookup(&fixture.cache).is_none(), "{len} bytes");
    }
    misses_and_heals(&fixture, &example, "after all");
}

#[test]
fn a_large_artifact_is_compared_to_its_last_byte() {
    let fixture = Fixture::new();
    let example = Example::of_len("large", (2 << 20) + 5);
    example.publish(&fixture.cache);
    let mut flipped = example.artifact.clone();
    *flipped.last_mut().expect("it has bytes") ^= 1;
    replace(&example.artifact_path(&fixture.cache), &flipped);
    misses_and_heals(&fixture, &example, "last byte");
    replace(&example.artifact_path(&fixture.cache), &flipped[1..]);
    misses_and_heals(&fixture, &example, "one byte less");
}

#[test]
fn an_entry_under_another_name_is_noticed() {
    let (fixture, example, artifact, manifest) = stored();
    let other = Example::new("other");
    replace(&other.artifact_path(&fixture.cache), &artifact);
    replace(&other.manifest_path(&fixture.cache), &manifest);
    misses_and_heals(&fixture, &other, "another source's entry");

    let mut foreign = Example::new("one");
    foreign.manifest.profile = ferrite_cache::Profile::candidates()
        .pop()
        .expect("there is one");
    if foreign.manifest.profile != example.manifest.profile {
        foreign.publish(&fixture.cache);
        replace(&foreign.artifact_path(&fixture.cache), &artifact);
        replace(&foreign.manifest_path(&fixture.cache), &manifest);
        misses_and_heals(&fixture, &foreign, "another profile's entry");
    }
    assert!(example.is_in(&fixture.cache));
}

#[test]
fn half_an_entry_is_none_and_is_completed() {
    let (fixture, example, artifact, manifest) = stored();
    fs::remove_file(example.artifact_path(&fixture.cache)).expect("it is stored");
    assert!(example.lookup(&fixture.cache).is_none());
    assert!(fixture.cache.list().expect("ok").is_empty());
    example.publish(&fixture.cache);
    assert!(example.is_in(&fixture.cache));

    fs::remove_file(example.manifest_path(&fixture.cache)).expect("it is stored");
    assert!(example.lookup(&fixture.cache).is_none());
    example.publish(&fixture.cache);
    assert!(example.is_in(&fixture.cache));
    let read = |path| fs::read(path).expect("it is stored");
    assert_eq!(read(example.artifact_path(&fixture.cache)), artifact);
    assert_eq!(read(example.manifest_path(&fixture.cache)), manifest);
}

#[test]
fn a_damaged_source_is_missed_moved_away_and_stored_again() {
    let fixture = Fixture::new();
    let source = b"the source".to_vec();
    let digest = fixture.cache.put_source(&source).expect("ok");
    let path = fixture.cache.source_path(&digest);
    for at in 0..source.len() {
        let mut flipped = source.clone();
        flipped[at] ^= 1;
        replace(&path, &flipped);
        assert_eq!(fixture.cache.source(&digest).expect("ok"), None);
        assert!(!path.exists(), "byte {at}");
    }
    for other in [&b""[..], b"the sourc", b"the source."] {
        replace(&path, other);
        // Storing it again replaces the damaged one too, without a lookup first.
        assert_eq!(fixture.cache.put_source(&source).expect("ok"), digest);
        assert_eq!(
            fixture.cache.source(&digest).expect("ok").as_deref(),
            Some(source.as_slice())
        );
    }
}

#[test]
fn the_quarantine_keeps_the_last_few_and_its_files_can_be_looked_at() {
    let (fixture, example, artifact, manifest) = stored();
    for round in 0..40_u8 {
        let mut other = artifact.clone();
        other[0] = round;
        replace(&example.artifact_path(&fixture.cache), &other);
        replace(&example.manifest_path(&fixture.cache), &manifest);
        assert!(example.lookup(&fixture.cache).is_none());
    }
    let quarantined = fixture.names("quarantine");
    assert_eq!(quarantined.len(), 16);
    let kept: Vec<u8> = quarantined
        .iter()
        .filter(|name| name.contains(".cwasm."))
        .map(|name| fs::read(fixture.path("quarantine").join(name)).expect("it is ours")[0])
        .collect();
    assert!(kept.contains(&39) && !kept.contains(&0), "{kept:?}");
    assert_eq!(fixture.cache.usage().expect("ok").quarantined, 16);
}

#[test]
fn checking_names_what_is_damaged_and_moves_it_away() {
    let fixture = Fixture::new();
    let (good, bad) = (Example::new("good"), Example::new("bad"));
    for example in [&good, &bad] {
        fixture.cache.put_source(&example.source).expect("ok");
        example.publish(&fixture.cache);
    }
    replace(&bad.artifact_path(&fixture.cache), &[0; 48]);
    replace(&fixture.cache.source_path(&bad.digest()), b"else");

    let verdicts = fixture.cache.verify().expect("ok");
    assert_eq!(verdicts.len(), 4);
    for verdict in &verdicts {
        let expected = match (&verdict.damage, verdict.profile) {
            (None, _) => good.digest(),
            (Some(damage), Some(profile)) => {
                assert_eq!(profile, bad.manifest.profile.fingerprint());
                assert!(damage.contains("digest"), "{damage}");
                bad.digest()
            }
            (Some(damage), None) => {
                let found = Digest::of(b"else").to_string();
                assert!(damage.contains(&found), "{damage}");
                bad.digest()
            }
        };
        assert_eq!(verdict.source, expected);
    }
    let again = fixture.cache.verify().expect("ok");
    assert_eq!(again.len(), 2);
    assert!(again.iter().all(|verdict| verdict.damage.is_none()));
}
