//! Stored artifacts are found again, and only where they belong.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use ferrite_cache::{Baseline, Digest, Profile, PublishError, SOURCE_BYTES_MAX, Target};

use crate::fixture::{Example, Fixture, bytes_of, names};

fn other_profile() -> Profile {
    let target = Target::host();
    let baseline = match target {
        Target::X86_64Linux => Baseline::V2,
        Target::Aarch64Linux | Target::Aarch64MacOs => Baseline::Generic,
    };
    Profile::new(target, baseline).expect("a pair that exists")
}

#[test]
fn an_artifact_is_found_again_by_any_process() {
    let fixture = Fixture::new();
    let example = Example::new("one");
    assert!(example.lookup(&fixture.cache).is_none());
    let published = example.publish(&fixture.cache);
    assert_eq!(bytes_of(&published), example.artifact);
    assert_eq!(published.len(), 48);
    assert!(example.is_in(&fixture.cache));

    let second = crate::fixture::open(fixture.cache.root());
    assert!(example.is_in(&second));
    assert!(!Example::new("other").is_in(&second));
}

#[test]
fn large_artifacts_are_found_too() {
    let fixture = Fixture::new();
    let example = Example::of_len("large", (3 << 20) + 1);
    example.publish(&fixture.cache);
    assert!(example.is_in(&fixture.cache));
}

#[test]
fn another_profile_misses_and_the_source_is_still_there_to_compile_it() {
    let fixture = Fixture::new();
    let example = Example::new("one");
    let digest = fixture
        .cache
        .put_source(&example.source)
        .expect("the disk works");
    assert_eq!(digest, example.digest());
    example.publish(&fixture.cache);

    // A new wasmtime or another CPU is another profile.
    let profile = other_profile();
    assert!(
        fixture
            .cache
            .lookup(&digest, &profile)
            .expect("the disk works")
            .is_none()
    );
    let source = fixture.cache.source(&digest).expect("the disk works");
    assert_eq!(source.as_deref(), Some(example.source.as_slice()));

    let mut recompiled = Example::of_len("one", 64);
    recompiled.manifest.profile = profile;
    recompiled.publish(&fixture.cache);
    assert!(recompiled.is_in(&fixture.cache));
    assert!(example.is_in(&fixture.cache));
}

#[test]
fn an_artifact_that_is_not_the_manifests_is_refused() {
    let fixture = Fixture::new();
    let example = Example::new("one");
    let refused = |artifact: &[u8]| {
        let result = fixture.cache.publish(&example.manifest, artifact);
        assert!(
            matches!(result, Err(PublishError::Artifact { .. })),
            "{result:?}"
        );
    };
    refused(b"something else");
    refused(&example.artifact[1..]);
    refused(&[]);
    assert!(example.lookup(&fixture.cache).is_none());
    assert_eq!(fixture.names(""), [""; 0]);
}

#[test]
fn the_first_to_publish_a_key_wins() {
    let fixture = Fixture::new();
    let first = Example::new("one");
    first.publish(&fixture.cache);
    let inode = |path| fs::metadata(path).expect("it is stored").ino();
    let path = first.artifact_path(&fixture.cache);
    let before = inode(&path);

    let mut second = Example::of_len("one", 100);
    second.manifest.compile_micros = 99;
    let kept = second.publish(&fixture.cache);
    assert_eq!(bytes_of(&kept), first.artifact);
    assert_eq!(*kept.manifest(), first.manifest);
    assert_eq!(inode(&path), before);
    assert!(fixture.names("tmp").is_empty());
}

#[test]
fn files_and_directories_are_private_and_files_are_read_only() {
    let fixture = Fixture::new();
    let example = Example::new("one");
    fixture
        .cache
        .put_source(&example.source)
        .expect("the disk works");
    example.publish(&fixture.cache);
    drop(
        fixture
            .cache
            .lock(&example.digest(), &example.manifest.profile),
    );

    let mode = |path: &std::path::Path| {
        let metadata = fs::symlink_metadata(path).expect("it is stored");
        metadata.permissions().mode() & 0o7777
    };
    assert_eq!(mode(fixture.cache.root()), 0o700);
    assert_eq!(mode(&fixture.path("")), 0o700);
    for directory in names(&fixture.path("")) {
        assert_eq!(mode(&fixture.path(directory)), 0o700);
    }
    for path in [
        example.artifact_path(&fixture.cache),
        example.manifest_path(&fixture.cache),
        fixture.cache.source_path(&example.digest()),
    ] {
        assert_eq!(mode(&path), 0o400, "{}", path.display());
    }
    assert_eq!(fixture.names("lock"), ["change"]);
}

#[test]
fn sources_are_stored_once_and_bounded() {
    let fixture = Fixture::new();
    let digest = fixture.cache.put_source(b"wasm").expect("the disk works");
    assert_eq!(digest, Digest::of(b"wasm"));
    let inode = || {
        fs::metadata(fixture.cache.source_path(&digest))
            .expect("it is stored")
            .ino()
    };
    let before = inode();
    fixture.cache.put_source(b"wasm").expect("the disk works");
    assert_eq!(inode(), before);
    assert_eq!(
        fixture.cache.source(&Digest::of(b"other")).expect("ok"),
        None
    );
    const { assert!(SOURCE_BYTES_MAX >= 100 << 20) };
}

#[test]
fn a_cache_that_is_deleted_while_it_is_open_is_empty_and_starts_anew() {
    let fixture = Fixture::new();
    let example = Example::new("one");
    let found = example.publish(&fixture.cache);
    fs::remove_dir_all(fixture.cache.root()).expect("it is ours");
    assert!(example.lookup(&fixture.cache).is_none());
    assert!(fixture.cache.list().expect("ok").is_empty());
    assert_eq!(bytes_of(&found), example.artifact);

    example.publish(&fixture.cache);
    assert!(example.is_in(&fixture.cache));
}

#[test]
fn listing_groups_artifacts_under_their_source() {
    let fixture = Fixture::new();
    let (one, other) = (Example::new("one"), Example::of_len("other", 100));
    let mut second = Example::of_len("one", 64);
    second.manifest.profile = other_profile();
    fixture.cache.put_source(&one.source).expect("ok");
    for example in [&one, &second, &other] {
        example.publish(&fixture.cache);
    }
    fs::write(fixture.path("README"), "not ours").expect("ok");
    fs::write(fixture.path("source/notes.txt"), "not ours").expect("ok");

    let entries = fixture.cache.list().expect("ok");
    assert_eq!(entries.len(), 2);
    let of = |example: &Example| {
        entries
            .iter()
            .find(|entry| entry.source == example.digest())
            .expect("it is listed")
    };
    assert_eq!(of(&one).source_len, Some(one.source.len() as u64));
    assert_eq!(of(&other).source_len, None);
    assert_eq!(of(&other).artifacts[0].len, 100);
    let mut profiles: Vec<_> = of(&one)
        .artifacts
        .iter()
        .map(|artifact| {
            let manifest = artifact.manifest.as_ref().expect("it can be read");
            assert_eq!(manifest.profile.fingerprint(), artifact.profile);
            manifest.profile.baseline()
        })
        .collect();
    profiles.sort();
    let mut expected = [Baseline::Native, second.manifest.profile.baseline()];
    expected.sort();
    assert_eq!(profiles, expected);

    let usage = fixture.cache.usage().expect("ok");
    assert_eq!((usage.sources, usage.artifacts), (1, 3));
    assert_eq!(usage.source_bytes, one.source.len() as u64);
    assert!(usage.artifact_bytes > 48 + 64 + 100);
    assert_eq!(usage.bytes(), usage.source_bytes + usage.artifact_bytes);
}
