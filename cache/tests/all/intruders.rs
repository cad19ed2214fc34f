//! Directories and files that somebody else may have touched are refused.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use ferrite_cache::{Cache, CacheOptions, OpenError, StorageError};

use crate::fixture::{Example, Fixture, is_root, remove};

/// A user who is neither root nor, most likely, the one who runs the tests.
const STRANGER: u32 = 54_321;

fn try_open(root: PathBuf) -> Result<Cache, OpenError> {
    Cache::open(CacheOptions {
        root,
        size_bytes_max: u64::MAX,
    })
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it is ours");
}

#[test]
fn a_directory_that_others_may_enter_is_refused_with_the_remedy() {
    for mode in [0o755, 0o750, 0o701, 0o777, 0o1777, 0o710, 0o704] {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let root = directory.path().join("cache");
        fs::create_dir(&root).expect("ok");
        set_mode(&root, mode);
        let error = try_open(root.clone()).expect_err("others may enter");
        assert!(
            matches!(error.source, StorageError::NotPrivate { mode: found, .. } if found == mode),
            "{error:?}"
        );
        assert!(error.source.to_string().contains("chmod 700"));
        set_mode(&root, 0o700);
        try_open(root).expect("it is private now");
    }
}

#[test]
fn a_directory_that_is_opened_to_others_later_is_refused_from_then_on() {
    let fixture = Fixture::new();
    let example = Example::new("one");
    fixture.cache.put_source(&example.source).expect("ok");
    example.publish(&fixture.cache);
    let fingerprint = example.manifest.profile.fingerprint().to_string();
    for below in [
        fixture.cache.root().to_owned(),
        fixture.path(""),
        fixture.path(fingerprint),
    ] {
        set_mode(&below, 0o770);
        let found = fixture
            .cache
            .lookup(&example.digest(), &example.manifest.profile);
        assert!(
            matches!(
                found.map_err(|error| error.source),
                Err(StorageError::NotPrivate { .. })
            ),
            "{}",
            below.display()
        );
        assert!(
            fixture
                .cache
                .publish(&example.manifest, &example.artifact)
                .is_err()
        );
        set_mode(&below, 0o700);
        assert!(example.is_in(&fixture.cache));
    }
    for below in ["source", "tmp", "lock"] {
        set_mode(&fixture.path(below), 0o777);
        assert!(
            fixture.cache.put_source(b"another").is_err(),
            "{below} is open to all"
        );
        set_mode(&fixture.path(below), 0o700);
    }
    fixture.cache.put_source(b"another").expect("all is well");
}

#[test]
fn another_users_directory_is_refused() {
    if !is_root("give files away") {
        return;
    }
    let fixture = Fixture::new();
    let example = Example::new("one");
    example.publish(&fixture.cache);
    let fingerprint = example.manifest.profile.fingerprint().to_string();
    for below in [
        fixture.cache.root().to_owned(),
        fixture.path(""),
        fixture.path(fingerprint),
    ] {
        chown(&below, Some(STRANGER), None).expect("root may");
        let found = fixture
            .cache
            .lookup(&example.digest(), &example.manifest.profile);
        assert!(
            matches!(
                found.map_err(|error| error.source),
                Err(StorageError::Foreign {
                    owner: STRANGER,
                    user: 0,
                    ..
                })
            ),
            "{}",
            below.display()
        );
        chown(&below, Some(0), None).expect("root may");
    }
    chown(fixture.cache.root(), Some(STRANGER), None).expect("root may");
    let error = try_open(fixture.cache.root().to_owned()).expect_err("it is not ours");
    assert!(matches!(error.source, StorageError::Foreign { .. }));
}

#[test]
fn links_and_files_in_place_of_directories_are_refused() {
    let fixture = Fixture::new();
    let example = Example::new("one");
    fixture.cache.put_source(&example.source).expect("ok");
    example.publish(&fixture.cache);
    let not_a_directory = |result: Result<(), StorageError>, path: &Path| {
        assert!(
            matches!(result, Err(StorageError::NotADirectory { .. })),
            "{} gives {result:?}",
            path.display()
        );
    };

    let link = fixture.directory.path().join("link");
    symlink(fixture.cache.root(), &link).expect("ok");
    not_a_directory(
        try_open(link.clone())
            .map(drop)
            .map_err(|error| error.source),
        &link,
    );
    remove(&link);
    fs::write(&link, "a file").expect("ok");
    not_a_directory(
        try_open(link.clone())
            .map(drop)
            .map_err(|error| error.source),
        &link,
    );

    let elsewhere = fixture.directory.path().join("elsewhere");
    for below in [
        fixture.path(""),
        fixture.path(example.manifest.profile.fingerprint().to_string()),
    ] {
        // `join("")` leaves a slash at the end, which would follow a link.
        let below: PathBuf = below.components().collect();
        fs::rename(&below, &elsewhere).expect("it is ours");
        symlink(&elsewhere, &below).expect("ok");
        let found = fixture
            .cache
            .lookup(&example.digest(), &example.manifest.profile);
        not_a_directory(found.map(drop).map_err(|error| error.source), &below);
        remove(&below);
        fs::write(&below, "a file").expect("ok");
        let found = fixture
            .cache
            .lookup(&example.digest(), &example.manifest.profile);
        not_a_directory(found.map(drop).map_err(|error| error.source), &below);
        remove(&below);
        fs::rename(&elsewhere, &below).expect("it is ours");
    }
    assert!(example.is_in(&fixture.cache));
}

/// Puts something in place of a file; `good` is a path where the file itself has been moved.
type Intrusion = fn(at: &Path, good: &Path);

const INTRUSIONS: [(&str, Intrusion); 9] = [
    ("a symbolic link to the very file", |at, good| {
        symlink(good, at).expect("ok");
    }),
    ("a symbolic link to nothing", |at, _| {
        symlink("/nonexistent", at).expect("ok");
    }),
    ("a hard link", |at, good| {
        fs::hard_link(good, at).expect("ok");
    }),
    ("a FIFO", |at, _| {
        rustix::fs::mkfifoat(rustix::fs::CWD, at, rustix::fs::Mode::RUSR).expect("ok");
    }),
    ("a socket", |at, _| {
        // Paths of sockets are short; bind it by a short name and move it.
        let directory = tempfile::tempdir_in(at.parent().expect("it has one")).expect("ok");
        let short = PathBuf::from(format!("/tmp/ferrite-{}", std::process::id()));
        let _listener = UnixListener::bind(&short).expect("ok");
        fs::rename(&short, directory.path().join("socket"))
            .and_then(|()| fs::rename(directory.path().join("socket"), at))
            .expect("the temporary directory is on the same disk");
    }),
    ("an empty directory", |at, _| {
        fs::create_dir(at).expect("ok");
    }),
    ("a directory with something in it", |at, good| {
        fs::create_dir(at).expect("ok");
        fs::copy(good, at.join("file")).expect("ok");
    }),
    ("a file that others may read", |at, good| {
        fs::copy(good, at).expect("ok");
        set_mode(at, 0o644);
    }),
    ("a set-user-id program", |at, good| {
        fs::copy(good, at).expect("ok");
        set_mode(at, 0o4700);
    }),
];

#[test]
fn nothing_but_a_private_regular_file_is_taken_for_one() {
    for (what, intrude) in INTRUSIONS {
        let fixture = Fixture::new();
        let example = Example::new("one");
        let digest = fixture.cache.put_source(&example.source).expect("ok");
        let good = fixture.directory.path().join("good");
        example.publish(&fixture.cache);
        for path in [
            example.artifact_path(&fixture.cache),
            example.manifest_path(&fixture.cache),
        ] {
            remove(&good);
            fs::rename(&path, &good).expect("it is stored");
            intrude(&path, &good);
            assert!(example.lookup(&fixture.cache).is_none(), "{what}");
            assert!(
                fs::symlink_metadata(&path).is_err(),
                "{what} is still there"
            );
            example.publish(&fixture.cache);
            assert!(example.is_in(&fixture.cache), "{what}");
        }
        let path = fixture.cache.source_path(&digest);
        remove(&good);
        fs::rename(&path, &good).expect("it is stored");
        intrude(&path, &good);
        assert_eq!(fixture.cache.source(&digest).expect("ok"), None, "{what}");
        fixture.cache.put_source(&example.source).expect("ok");
        assert!(
            fixture.cache.source(&digest).expect("ok").is_some(),
            "{what}"
        );
    }
}

#[test]
fn publishing_gets_past_what_stands_in_its_way() {
    for (what, intrude) in INTRUSIONS {
        let fixture = Fixture::new();
        let example = Example::new("one");
        example.publish(&fixture.cache);
        let good = fixture.directory.path().join("good");
        // Without a manifest there is no entry, and the artifact's name is not looked at.
        remove(&example.manifest_path(&fixture.cache));
        let path = example.artifact_path(&fixture.cache);
        fs::rename(&path, &good).expect("it is stored");
        intrude(&path, &good);
        assert!(example.lookup(&fixture.cache).is_none(), "{what}");
        example.publish(&fixture.cache);
        assert!(example.is_in(&fixture.cache), "{what}");
        assert_eq!(
            fs::read(&good).expect("it is not the cache's any more"),
            example.artifact,
            "{what}"
        );
    }
}

#[test]
fn another_users_file_is_missed() {
    if !is_root("give files away") {
        return;
    }
    let fixture = Fixture::new();
    let example = Example::new("one");
    let digest = fixture.cache.put_source(&example.source).expect("ok");
    example.publish(&fixture.cache);
    for path in [
        example.artifact_path(&fixture.cache),
        example.manifest_path(&fixture.cache),
    ] {
        chown(&path, Some(STRANGER), None).expect("root may");
        assert!(example.lookup(&fixture.cache).is_none());
        example.publish(&fixture.cache);
        assert!(example.is_in(&fixture.cache));
    }
    chown(fixture.cache.source_path(&digest), Some(STRANGER), None).expect("root may");
    assert_eq!(fixture.cache.source(&digest).expect("ok"), None);
}

#[test]
fn a_link_in_place_of_a_lock_is_refused() {
    let fixture = Fixture::new();
    let example = Example::new("one");
    example.publish(&fixture.cache);
    let target = fixture.directory.path().join("target");
    let lock = fixture.path("lock/change");
    remove(&lock);
    symlink(&target, &lock).expect("ok");
    assert!(fixture.cache.put_source(b"another").is_err());
    assert!(!target.exists(), "the lock was made behind the link");
    assert!(example.is_in(&fixture.cache), "looking up takes no lock");
}
