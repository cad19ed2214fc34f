//! Directories and file names below the cache's root.

use std::path::{Path, PathBuf};

use crate::digest::Digest;
use crate::profile::Fingerprint;

/// The longest source that the cache stores, in bytes.
pub const SOURCE_BYTES_MAX: u64 = 1 << 30;

/// Directory of this format. A new format gets a new name, so that old entries are not found.
pub(super) const FORMAT: &str = "v1";

/// A directory below `v1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Directory {
    /// Sources.
    Sources,
    /// Artifacts and manifests of one profile.
    Artifacts(Fingerprint),
    /// Files that are not published yet.
    Temporary,
    /// Lock files.
    Locks,
    /// Signed manifests of the releases of sources.
    Releases,
    /// Lists of sources that must not be evicted.
    Pins,
    /// Damaged files.
    Quarantine,
}

impl Directory {
    /// Returns the directory's name.
    pub(super) fn name(self) -> String {
        match self {
            Self::Sources => String::from("source"),
            Self::Artifacts(fingerprint) => fingerprint.to_string(),
            Self::Temporary => String::from("tmp"),
            Self::Locks => String::from("lock"),
            Self::Releases => String::from("release"),
            Self::Pins => String::from("pin"),
            Self::Quarantine => String::from("quarantine"),
        }
    }

    /// Returns the directory's path below `root`.
    pub(super) fn path(self, root: &Path) -> PathBuf {
        root.join(FORMAT).join(self.name())
    }
}

/// The content of a published file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FileKind {
    /// WebAssembly.
    Source,
    /// Native code.
    Artifact,
    /// The description of the native code.
    Manifest,
    /// Native code that several images share; its name is its own digest.
    Engine,
}

impl FileKind {
    const ALL: [Self; 4] = [Self::Source, Self::Artifact, Self::Manifest, Self::Engine];

    const fn extension(self) -> &'static str {
        match self {
            Self::Source => "wasm",
            Self::Artifact => "cwasm",
            Self::Manifest => "meta",
            Self::Engine => "engine",
        }
    }

    /// Returns the file's name for a source, or for the digest of an engine.
    pub(super) fn file_name(self, source: &Digest) -> String {
        format!("{}.{}", source.hex(), self.extension())
    }

    /// Parses a file name into its kind and source; `None` for a name that the cache does not use.
    pub(super) fn of_file_name(name: &str) -> Option<(Self, Digest)> {
        let (hex, extension) = name.split_once('.')?;
        let kind = Self::ALL
            .into_iter()
            .find(|kind| kind.extension() == extension)?;
        Some((kind, Digest::from_hex(hex).ok()?))
    }
}

/// Returns the name of the file of an image: of a source, on the native code of this digest.
///
/// The name alone tells which engine an image needs, so that eviction reads no manifest.
pub(super) fn image_name(source: &Digest, native: &Digest) -> String {
    format!("{}-{}.image", source.hex(), native.hex())
}

/// Parses the name of an image's file into its source and its native code.
pub(super) fn of_image_name(name: &str) -> Option<(Digest, Digest)> {
    let (source, native) = name.strip_suffix(".image")?.split_once('-')?;
    let digest = |hex| Digest::from_hex(hex).ok();
    Some((digest(source)?, digest(native)?))
}

/// The longest signed manifest that the cache stores, in bytes: a manifest, in which every byte may
/// have to be escaped, and a signature.
pub(super) const RELEASE_BYTES_MAX: u64 = 8 << 20;

/// Returns the name of the file of a release: of a source, under a signed manifest.
pub(super) fn release_name(source: &Digest, manifest: &Digest) -> String {
    format!("{}-{}.json", source.hex(), manifest.hex())
}

/// Parses the name of a release's file into its source and its manifest.
pub(super) fn of_release_name(name: &str) -> Option<(Digest, Digest)> {
    let (source, manifest) = name.strip_suffix(".json")?.split_once('-')?;
    let digest = |hex| Digest::from_hex(hex).ok();
    Some((digest(source)?, digest(manifest)?))
}

/// The key of an entry: a source and the profile it is compiled under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key {
    /// The source's digest.
    pub(super) source: Digest,
    /// The profile's fingerprint.
    pub(super) profile: Fingerprint,
}

impl Key {
    pub(super) const fn directory(&self) -> Directory {
        Directory::Artifacts(self.profile)
    }

    /// Returns the name of the file that is locked while this key is compiled.
    pub(super) fn lock_name(&self) -> String {
        format!("{}-{}", self.profile, self.source.hex())
    }
}

#[cfg(test)]
mod tests {
    use super::{FileKind, image_name, of_image_name, of_release_name, release_name};
    use crate::digest::Digest;

    #[test]
    fn names_of_releases_round_trip() {
        let (source, manifest) = (Digest::of(b"source"), Digest::of(b"manifest"));
        let name = release_name(&source, &manifest);
        assert_eq!(of_release_name(&name), Some((source, manifest)));
        for foreign in ["", "a-b.json", &name[..name.len() - 1], &name[1..]] {
            assert_eq!(of_release_name(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn names_of_images_round_trip_and_are_none_of_other_files() {
        let (source, native) = (Digest::of(b"source"), Digest::of(b"native"));
        let name = image_name(&source, &native);
        assert_eq!(of_image_name(&name), Some((source, native)));
        assert_eq!(FileKind::of_file_name(&name), None);
        for foreign in ["", "a-b.image", &name[..name.len() - 1], &name[1..]] {
            assert_eq!(of_image_name(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn file_names_round_trip_and_foreign_ones_are_not_ours() {
        let digest = Digest::of(b"source");
        for kind in FileKind::ALL {
            assert_eq!(
                FileKind::of_file_name(&kind.file_name(&digest)),
                Some((kind, digest))
            );
        }
        let hex = digest.hex();
        for foreign in [
            String::new(),
            hex.clone(),
            format!("{hex}.wasm.bak"),
            format!("{hex}.txt"),
            format!(".{hex}.wasm"),
            format!("{}.wasm", hex.to_uppercase()),
            String::from("README.wasm"),
        ] {
            assert_eq!(FileKind::of_file_name(&foreign), None, "{foreign}");
        }
    }
}
