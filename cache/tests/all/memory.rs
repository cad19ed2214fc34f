//! Artifacts that no disk holds.

use std::fs::File;
use std::io::Write;

use ferrite_cache::{ArtifactError, VerifiedArtifact};

use crate::fixture::{Example, bytes_of};

#[test]
fn an_artifact_in_memory_is_the_manifests_and_cannot_be_changed() {
    let example = Example::of_len("one", 100_000);
    let artifact = VerifiedArtifact::in_memory(example.manifest.clone(), &example.artifact)
        .expect("there is memory");
    assert_eq!(bytes_of(&artifact), example.artifact);
    assert_eq!(artifact.len(), 100_000);
    assert_eq!(*artifact.manifest(), example.manifest);

    let mut file: &File = artifact.file();
    assert!(file.write_all(b"changed").is_err());
    assert!(file.set_len(1).is_err());
    assert!(file.set_len(1_000_000).is_err());
    assert_eq!(bytes_of(&artifact), example.artifact);
}

#[test]
fn bytes_that_are_not_the_manifests_are_refused() {
    let example = Example::new("one");
    for bytes in [&b""[..], b"something else", &example.artifact[1..]] {
        assert!(matches!(
            VerifiedArtifact::in_memory(example.manifest.clone(), bytes),
            Err(ArtifactError::Mismatch { .. })
        ));
    }
}
