//! A disk that is full or read-only fails with a clear error and leaves what it has in order.

use std::cell::RefCell;
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use ferrite_cache::{
    Cache, CacheError, CacheOptions, Origin, PublishError, StorageError, VerifiedArtifact,
};

use crate::fixture::{Example, bytes_of, is_root, names, open, replace, skip};

/// A small disk in memory, which goes away with it.
struct Disk {
    directory: tempfile::TempDir,
}

impl Disk {
    /// Mounts one; says so and gives none where this system does not let us.
    fn mount(options: &str) -> Option<Self> {
        if !is_root("mount a small disk") {
            return None;
        }
        let disk = Self {
            directory: tempfile::tempdir().expect("a temporary directory"),
        };
        if disk.run("mount", &["-t", "tmpfs", "-o", options, "tmpfs"]) {
            Some(disk)
        } else {
            skip("this system does not let root mount a small disk");
            None
        }
    }

    fn remount(&self, options: &str) {
        assert!(self.run("mount", &["-o", &format!("remount,{options}")]));
    }

    fn run(&self, program: &str, arguments: &[&str]) -> bool {
        Command::new(program)
            .args(arguments)
            .arg(self.directory.path())
            .status()
            .is_ok_and(|status| status.success())
    }

    fn root(&self) -> PathBuf {
        self.directory.path().join("cache")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.run("umount", &[]);
    }
}

fn tmp_is_empty(root: &Path) -> bool {
    names(&root.join("v1/tmp")).is_empty()
}

#[test]
fn a_full_disk_is_named_and_what_was_stored_stays() {
    let Some(disk) = Disk::mount("size=256k") else {
        return;
    };
    let cache = open(&disk.root());
    let small = Example::new("small");
    small.publish(&cache);
    let large = Example::of_len("large", 512 << 10);
    for _ in 0..3 {
        let error = cache
            .publish(&large.manifest, &large.artifact)
            .expect_err("it does not fit");
        assert!(error.is_storage());
        assert!(
            matches!(
                error,
                PublishError::Storage {
                    source: StorageError::Full { .. },
                    ..
                }
            ),
            "{error:?}"
        );
        // Nothing of it is left, or the next one would not fit either.
        assert!(tmp_is_empty(&disk.root()));
    }
    assert!(cache.put_source(&large.artifact).is_err());
    assert!(large.lookup(&cache).is_none());
    assert!(small.is_in(&cache));

    let from_memory = VerifiedArtifact::in_memory(large.manifest.clone(), &large.artifact)
        .expect("there is memory");
    assert_eq!(bytes_of(&from_memory), large.artifact);
}

#[test]
fn a_disk_that_fills_up_in_the_middle_can_be_evicted_from_and_goes_on() {
    let Some(disk) = Disk::mount("size=256k") else {
        return;
    };
    let cache = Cache::open(CacheOptions {
        root: disk.root(),
        size_bytes_max: 64 << 10,
    })
    .expect("it opens");
    let examples: Vec<_> = (0..20)
        .map(|number| Example::of_len(&format!("number {number}"), 40 << 10))
        .collect();
    let stored = examples
        .iter()
        .take_while(|example| cache.publish(&example.manifest, &example.artifact).is_ok())
        .count();
    assert!((1..10).contains(&stored), "{stored} fit");
    let last = &examples[stored];
    cache.evict(&HashSet::new()).expect("there is something");
    last.publish(&cache);
    assert!(last.is_in(&cache));
}

#[test]
fn a_disk_without_room_for_another_file_is_full_too() {
    let Some(disk) = Disk::mount("size=1m,nr_inodes=12") else {
        return;
    };
    let cache = open(&disk.root());
    let error = (0..20)
        .find_map(|number: u8| cache.put_source(&[number]).err())
        .expect("there are only so many files");
    assert!(
        matches!(
            error,
            PublishError::Storage {
                source: StorageError::Full { .. },
                ..
            }
        ),
        "{error:?}"
    );
}

#[test]
fn a_read_only_disk_is_read() {
    let Some(disk) = Disk::mount("size=1m") else {
        return;
    };
    let (good, bad) = (Example::new("good"), Example::new("bad"));
    let cache = open(&disk.root());
    for example in [&good, &bad] {
        cache.put_source(&example.source).expect("ok");
        example.publish(&cache);
    }
    replace(&bad.artifact_path(&cache), &[0; 48]);
    disk.remount("ro");

    let cache = open(&disk.root());
    assert!(good.is_in(&cache));
    assert_eq!(
        cache.source(&good.digest()).expect("ok"),
        Some(good.source.clone())
    );
    // Damaged files cannot be moved away, but lookups miss all the same.
    assert!(bad.lookup(&cache).is_none());
    assert_eq!(cache.list().expect("ok").len(), 2);
    assert_eq!(cache.verify().expect("ok").len(), 4);

    let not_writable = |error: &StorageError| matches!(error, StorageError::NotWritable { .. });
    let new = Example::new("new");
    let error = cache
        .publish(&new.manifest, &new.artifact)
        .expect_err("it is read-only");
    assert!(
        matches!(&error, PublishError::Storage { source, .. } if not_writable(source)),
        "{error:?}"
    );
    assert!(error.is_storage());
    let error = cache
        .lock(&new.digest(), &new.manifest.profile)
        .expect_err("it is read-only");
    assert!(not_writable(&error.source), "{error:?}");
    let error = cache.evict(&HashSet::new()).expect_err("it is read-only");
    assert!(not_writable(&error.0), "{error:?}");
    // An entry that is there need not be written.
    good.publish(&cache);

    disk.remount("rw");
    new.publish(&cache);
    assert!(new.is_in(&cache));
}

/// Gets an example's artifact and goes on without the disk; returns where it is from, and the
/// failures of the disk.
fn get_without_disk(cache: &Cache, example: &Example) -> (Origin, Vec<CacheError>) {
    let (digest, profile) = (example.digest(), &example.manifest.profile);
    let errors = RefCell::new(Vec::new());
    let (artifact, origin) = cache
        .get_or_compile_with(
            &digest,
            profile,
            || Ok(cache.lookup(&digest, profile)?),
            |error| {
                errors.borrow_mut().push(error);
                Ok::<_, CacheError>(())
            },
            || Ok(example.compiled()),
        )
        .expect("memory takes it");
    assert_eq!(bytes_of(&artifact), example.artifact);
    (origin, errors.into_inner())
}

#[test]
fn what_a_full_disk_cannot_store_is_compiled_into_memory() {
    let Some(disk) = Disk::mount("size=256k") else {
        return;
    };
    let cache = open(&disk.root());
    let large = Example::of_len("large", 512 << 10);
    let (origin, errors) = get_without_disk(&cache, &large);
    assert_eq!(origin, Origin::Memory);
    assert!(matches!(errors[..], [CacheError::Publish(_)]), "{errors:?}");
    assert!(errors[0].is_storage());
    assert!(tmp_is_empty(&disk.root()));
}

#[test]
fn a_read_only_disk_is_compiled_beside() {
    let Some(disk) = Disk::mount("size=1m") else {
        return;
    };
    let (old, new) = (Example::new("old"), Example::new("new"));
    let cache = open(&disk.root());
    old.publish(&cache);
    disk.remount("ro");
    let (origin, errors) = get_without_disk(&cache, &old);
    assert_eq!(origin, Origin::Cache);
    assert!(errors.is_empty(), "{errors:?}");
    let (origin, errors) = get_without_disk(&cache, &new);
    assert_eq!(origin, Origin::Memory);
    assert!(
        matches!(errors[..], [CacheError::Lock(_), CacheError::Publish(_)]),
        "{errors:?}"
    );
    assert!(errors.iter().all(CacheError::is_storage));

    let profile = &new.manifest.profile;
    let refused = cache.get_or_compile(&new.digest(), profile, || {
        Ok::<_, CacheError>(new.compiled())
    });
    assert!(matches!(refused, Err(CacheError::Lock(_))));
}

#[test]
fn a_cache_that_cannot_be_made_says_where() {
    let Some(disk) = Disk::mount("size=1m") else {
        return;
    };
    disk.remount("ro");
    let error = Cache::open(CacheOptions {
        root: disk.root(),
        size_bytes_max: 0,
    })
    .expect_err("it is read-only");
    assert_eq!(error.root, disk.root());
    assert!(matches!(error.source, StorageError::NotWritable { .. }));
}

#[test]
fn a_disk_that_allows_no_programs_is_copied_from() {
    let Some(disk) = Disk::mount("size=4m,noexec") else {
        return;
    };
    let cache = open(&disk.root());
    for example in [Example::new("small"), Example::of_len("large", 1 << 20)] {
        let published = example.publish(&cache);
        assert_eq!(bytes_of(&published), example.artifact);
        let found = example.lookup(&cache).expect("it is stored");
        assert_eq!(bytes_of(&found), example.artifact);
        let seals = rustix::fs::fcntl_get_seals(found.file()).expect("it is in memory");
        assert!(seals.contains(rustix::fs::SealFlags::WRITE));
    }
}
