//! A lookup that does not wait finds the same as one that waits, or nothing.

use std::fs::{self, File};
use std::io::IoSliceMut;
use std::path::{Path, PathBuf};

use ferrite_cache::VerifiedArtifact;
use rustix::fs::{Advice, fadvise};
use rustix::io::{ReadWriteFlags, preadv2};

use crate::fixture::{Example, Fixture, bytes_of, replace, skip};

impl Example {
    /// The files that a lookup reads.
    fn paths(&self, fixture: &Fixture) -> [PathBuf; 2] {
        [
            self.artifact_path(&fixture.cache),
            self.manifest_path(&fixture.cache),
        ]
    }

    fn lookup_nonblocking(&self, fixture: &Fixture) -> Option<VerifiedArtifact> {
        self.lookup_up_to(fixture, 1 << 20)
    }

    fn lookup_up_to(&self, fixture: &Fixture, bytes_max: u64) -> Option<VerifiedArtifact> {
        let profile = &self.manifest.profile;
        fixture
            .cache
            .lookup_nonblocking(&self.digest(), profile, bytes_max)
    }
}

/// Returns true if the system reports that the start of a file is in memory.
fn is_held(path: &Path) -> bool {
    let file = File::open(path).expect("it is there");
    let mut byte = [0];
    let mut buffers = [IoSliceMut::new(&mut byte)];
    preadv2(&file, &mut buffers, 0, ReadWriteFlags::NOWAIT).is_ok()
}

/// A cache with an artifact in it; nothing where the file system cannot tell what is in memory.
fn stored() -> Option<(Fixture, Example)> {
    let fixture = Fixture::new();
    let example = Example::new("one");
    assert!(example.lookup_nonblocking(&fixture).is_none());
    example.publish(&fixture.cache);
    if is_held(&example.artifact_path(&fixture.cache)) {
        return Some((fixture, example));
    }
    skip("the file system of temporary files cannot tell what is in memory");
    // Then nothing is found without waiting.
    assert!(example.lookup_nonblocking(&fixture).is_none());
    assert!(example.is_in(&fixture.cache));
    None
}

#[test]
fn what_is_in_memory_is_found_at_once() {
    let Some((fixture, example)) = stored() else {
        return;
    };
    let found = example
        .lookup_nonblocking(&fixture)
        .expect("it is in memory");
    assert_eq!(bytes_of(&found), example.artifact);
    assert_eq!(*found.manifest(), example.manifest);
    assert!(Example::new("other").lookup_nonblocking(&fixture).is_none());
    // Its length is that of the artifact, and no less will do.
    assert!(example.lookup_up_to(&fixture, 48).is_some());
    assert!(example.lookup_up_to(&fixture, 47).is_none());
    assert!(example.is_in(&fixture.cache), "it stays where it is");
}

#[test]
fn what_is_on_the_disk_alone_is_left_to_others() {
    let Some((fixture, example)) = stored() else {
        return;
    };
    for path in example.paths(&fixture) {
        let beside = path.with_extension("beside");
        fs::copy(&path, &beside).expect("the directory is ours");
        // To ask for it brings it back, so each way of asking has its own tries.
        if !tries(&beside, || !is_held(&beside)) {
            skip("the system keeps in memory what it is told to forget");
            return;
        }
        assert!(tries(&path, || example
            .lookup_nonblocking(&fixture)
            .is_none()));
        // Looking it up brings it into memory.
        assert!(example.is_in(&fixture.cache));
        assert!(example.lookup_nonblocking(&fixture).is_some());
    }
}

/// Returns true if `holds` does once a file is on the disk alone. The system is free to keep it in
/// memory, so it is told to forget it more than once.
fn tries(path: &Path, holds: impl Fn() -> bool) -> bool {
    let file = File::open(path).expect("it is there");
    (0..20).any(|_| {
        file.sync_all().expect("the disk works");
        fadvise(&file, 0, None, Advice::DontNeed).expect("an advice is taken");
        holds()
    })
}

#[test]
fn what_is_damaged_is_not_found_and_not_touched() {
    let Some((fixture, example)) = stored() else {
        return;
    };
    for path in example.paths(&fixture) {
        let bytes = fs::read(&path).expect("it is stored");
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1;
            replace(&path, &flipped);
            assert!(example.lookup_nonblocking(&fixture).is_none(), "byte {at}");
            assert_eq!(fs::read(&path).expect("it is still there"), flipped);
        }
        replace(&path, &bytes[..bytes.len() - 1]);
        assert!(example.lookup_nonblocking(&fixture).is_none());
        replace(&path, &bytes);
        assert!(example.lookup_nonblocking(&fixture).is_some());
    }
}

#[test]
fn what_others_may_have_changed_is_not_found() {
    let Some((fixture, example)) = stored() else {
        return;
    };
    let path = example.artifact_path(&fixture.cache);
    let second = path.with_extension("second");
    fs::hard_link(&path, &second).expect("the directory is ours");
    assert!(example.lookup_nonblocking(&fixture).is_none());
    fs::remove_file(&second).expect("it is ours");
    assert!(example.lookup_nonblocking(&fixture).is_some());

    let aside = path.with_extension("aside");
    fs::rename(&path, &aside).expect("the directory is ours");
    std::os::unix::fs::symlink(&aside, &path).expect("the directory is ours");
    assert!(example.lookup_nonblocking(&fixture).is_none());
}
