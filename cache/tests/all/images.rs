//! Functions that share an engine: one file of native code, and an image of each.

use std::collections::HashSet;
use std::fs;
use std::path::PathBuf;

use ferrite_cache::bundle::KeyId;
use ferrite_cache::{ArtifactBytes, Digest, ImageInfo, KnownEngine, VerifiedArtifact};

use crate::fixture::{Example, Fixture, bytes_of, replace};

/// An example whose native code is that of an engine.
struct Sharing {
    example: Example,
    image: Vec<u8>,
}

impl Sharing {
    /// A function called `name` on an engine.
    fn new(name: &str, engine: &str) -> Self {
        let mut example = Example::new(name);
        let image = format!("the memory of {name}").into_bytes();
        example.artifact = format!("native code of {engine}").into_bytes();
        example.manifest.artifact = Digest::of(&example.artifact);
        example.manifest.artifact_len = example.artifact.len() as u64;
        example.manifest.image = Some(ImageInfo {
            engine: Digest::of(engine.as_bytes()),
            digest: Digest::of(&image),
            len: image.len() as u64,
            back: 0,
            entries: vec![0],
        });
        Self { example, image }
    }

    fn publish(&self, fixture: &Fixture) -> VerifiedArtifact {
        let code = ArtifactBytes {
            native: &self.example.artifact,
            image: Some(&self.image),
        };
        fixture
            .cache
            .publish(&self.example.manifest, code)
            .expect("the disk works")
    }

    /// Returns true if the cache has the function, with its very bytes.
    fn is_in(&self, fixture: &Fixture) -> bool {
        self.example.lookup(&fixture.cache).is_some_and(|found| {
            assert_eq!(bytes_of(&found), self.example.artifact);
            assert_eq!(*found.manifest(), self.example.manifest);
            let image = found.image().expect("it has an image");
            assert_eq!(
                image.metadata().expect("it is open").len(),
                self.image.len() as u64
            );
            true
        })
    }

    fn image_path(&self, fixture: &Fixture) -> PathBuf {
        let manifest = &self.example.manifest;
        let name = format!(
            "{}-{}.image",
            manifest.source.hex(),
            manifest.artifact.hex()
        );
        fixture.cache.code_path(manifest).with_file_name(name)
    }

    fn engine_path(&self, fixture: &Fixture) -> PathBuf {
        fixture.cache.code_path(&self.example.manifest)
    }

    fn known(&self) -> KnownEngine {
        let manifest = &self.example.manifest;
        KnownEngine {
            engine: manifest.image.as_ref().expect("it has one").engine,
            native: manifest.artifact,
            native_len: manifest.artifact_len,
        }
    }
}

/// Two functions on one engine and a third on another, all stored.
fn three() -> (Fixture, [Sharing; 3]) {
    let fixture = Fixture::new();
    let all = [("a", "x"), ("b", "x"), ("c", "y")].map(|(name, engine)| Sharing::new(name, engine));
    for one in &all {
        one.publish(&fixture);
    }
    (fixture, all)
}

fn evict_all_but(fixture: &Fixture, pinned: &[&Sharing]) {
    let sources: HashSet<_> = pinned.iter().map(|one| one.example.digest()).collect();
    // With room for nothing, only what is pinned stays.
    let small = ferrite_cache::Cache::open(ferrite_cache::CacheOptions {
        root: fixture.cache.root().to_owned(),
        size_bytes_max: 0,
    })
    .expect("the cache opens");
    let evicted = small.evict(&sources).expect("the disk works");
    assert_eq!(
        evicted.left_bytes,
        small.usage().expect("the disk works").bytes()
    );
}

#[test]
fn an_engine_is_stored_once_and_every_function_finds_it() {
    let (fixture, all) = three();
    assert!(all.iter().all(|one| one.is_in(&fixture)));
    assert_eq!(all[0].engine_path(&fixture), all[1].engine_path(&fixture));
    let usage = fixture.cache.usage().expect("the disk works");
    assert_eq!((usage.artifacts, usage.engines), (3, 2));
    let engines = 2 * all[0].example.artifact.len() as u64;
    assert_eq!(usage.engine_bytes, engines);
    let listed = fixture.cache.list().expect("the disk works");
    for one in &all {
        let entry = listed
            .iter()
            .find(|entry| entry.source == one.example.digest())
            .expect("it is listed");
        assert_eq!(entry.artifacts[0].len, one.image.len() as u64);
    }
    let verdicts = fixture.cache.verify().expect("the disk works");
    assert!(verdicts.iter().all(|verdict| verdict.damage.is_none()));
    assert_eq!(verdicts.len(), 3);
}

#[test]
fn bytes_that_the_manifest_does_not_describe_are_not_stored() {
    let fixture = Fixture::new();
    let one = Sharing::new("a", "x");
    let manifest = &one.example.manifest;
    let native = one.example.artifact.as_slice();
    for image in [None, Some(&b"another memory"[..])] {
        let code = ArtifactBytes { native, image };
        assert!(fixture.cache.publish(manifest, code).is_err());
        assert!(VerifiedArtifact::in_memory(manifest.clone(), code).is_err());
    }
    let whole = Example::new("a");
    let code = ArtifactBytes {
        native: &whole.artifact,
        image: Some(b"an image"),
    };
    assert!(fixture.cache.publish(&whole.manifest, code).is_err());
    assert!(one.example.lookup(&fixture.cache).is_none());
}

#[test]
fn a_function_without_its_engine_is_missed_and_stored_again() {
    let (fixture, all) = three();
    let [one, other, _] = &all;
    assert!(one.is_in(&fixture));
    fs::remove_file(one.engine_path(&fixture)).expect("it is stored");
    assert!(!one.is_in(&fixture));
    assert!(!other.is_in(&fixture));
    assert_eq!(
        fixture
            .cache
            .engine_code(&one.example.manifest.profile, &one.known())
            .expect("ok"),
        None
    );
    one.publish(&fixture);
    assert!(one.is_in(&fixture));
    assert!(other.is_in(&fixture), "it shares the engine");
}

#[test]
fn a_changed_image_or_engine_is_missed_and_moved_away() {
    let (fixture, all) = three();
    let [one, other, third] = &all;
    assert!(all.iter().all(|one| one.is_in(&fixture)));
    let mut forged = one.image.clone();
    forged[3] ^= 1;
    replace(&one.image_path(&fixture), &forged);
    assert!(!one.is_in(&fixture));
    assert!(!one.image_path(&fixture).exists());
    assert!(
        one.engine_path(&fixture).exists(),
        "nothing is wrong with it"
    );
    assert!(other.is_in(&fixture));
    one.publish(&fixture);
    assert!(one.is_in(&fixture));

    let mut forged = one.example.artifact.clone();
    forged[3] ^= 1;
    replace(&one.engine_path(&fixture), &forged);
    assert!(
        !one.is_in(&fixture),
        "the file is another one than was seen"
    );
    assert!(!one.engine_path(&fixture).exists());
    assert!(!other.is_in(&fixture));
    assert!(third.is_in(&fixture));
    other.publish(&fixture);
    assert!(other.is_in(&fixture));
}

#[test]
fn an_engine_stays_as_long_as_an_image_that_is_pinned() {
    let (fixture, all) = three();
    let [one, other, third] = &all;
    evict_all_but(&fixture, &[one]);
    assert!(one.is_in(&fixture));
    assert!(!other.is_in(&fixture));
    assert!(!third.engine_path(&fixture).exists());
    evict_all_but(&fixture, &[]);
    assert!(!one.engine_path(&fixture).exists());
    let usage = fixture.cache.usage().expect("the disk works");
    assert_eq!((usage.artifacts, usage.engines, usage.bytes()), (0, 0, 0));
}

#[test]
fn what_is_half_there_is_evicted_first() {
    let (fixture, all) = three();
    let [one, other, third] = &all;
    fs::remove_file(third.engine_path(&fixture)).expect("it is stored");
    fs::remove_file(one.example.manifest_path(&fixture.cache)).expect("it is stored");
    fixture
        .cache
        .evict(&HashSet::new())
        .expect("the disk works");
    assert!(!third.image_path(&fixture).exists());
    assert!(!third.example.manifest_path(&fixture.cache).exists());
    assert!(!one.image_path(&fixture).exists());
    assert!(other.is_in(&fixture), "the engine is still needed");
}

#[test]
fn engines_of_bundles_are_not_offered_to_compilers() {
    let fixture = Fixture::new();
    let profile = ferrite_cache::Profile::native();
    let mut signed = Sharing::new("a", "x");
    signed.example.manifest.signed_by = Some("00112233AABBCCDD".parse::<KeyId>().expect("an id"));
    signed.publish(&fixture);
    assert_eq!(fixture.cache.engines(&profile).expect("ok"), []);
    let ours = Sharing::new("b", "x");
    ours.publish(&fixture);
    assert_eq!(fixture.cache.engines(&profile).expect("ok"), [ours.known()]);
    let code = fixture
        .cache
        .engine_code(&profile, &ours.known())
        .expect("ok");
    assert_eq!(code, Some(ours.example.artifact.clone()));
    let source = ours.example.digest();
    assert!(fixture.cache.discard(&source, &profile).expect("ok"));
    assert_eq!(fixture.cache.engines(&profile).expect("ok"), []);
    assert!(signed.is_in(&fixture));
    fixture
        .cache
        .withdraw(&signed.example.digest(), &profile)
        .expect("ok");
    assert!(!signed.is_in(&fixture));
}
