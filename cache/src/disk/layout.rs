//! Where everything is below the cache's root, and how the files are named.

use std::path::{Path, PathBuf};

use crate::digest::Digest;
use crate::profile::Fingerprint;

/// The longest source that is stored, in bytes.
pub const SOURCE_BYTES_MAX: u64 = 1 << 30;

/// The directory of this format. Another format gets another name, so that old entries miss.
pub(super) const FORMAT: &str = "v1";

/// A directory below `v1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Directory {
    /// Sources.
    Sources,
    /// Artifacts and manifests of one profile.
    Artifacts(Fingerprint),
    /// Files that are not yet published.
    Temporary,
    /// Lock files.
    Locks,
    /// What must not be evicted.
    Pins,
    /// What was found damaged.
    Quarantine,
}

impl Directory {
    /// The directory's name.
    pub(super) fn name(self) -> String {
        match self {
            Self::Sources => String::from("source"),
            Self::Artifacts(fingerprint) => fingerprint.to_string(),
            Self::Temporary => String::from("tmp"),
            Self::Locks => String::from("lock"),
            Self::Pins => String::from("pin"),
            Self::Quarantine => String::from("quarantine"),
        }
    }

    /// The directory's path below `root`.
    pub(super) fn path(self, root: &Path) -> PathBuf {
        root.join(FORMAT).join(self.name())
    }
}

/// What a published file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FileKind {
    /// WebAssembly.
    Source,
    /// Native code.
    Artifact,
    /// What is known about the native code.
    Manifest,
}

impl FileKind {
    const ALL: [Self; 3] = [Self::Source, Self::Artifact, Self::Manifest];

    const fn extension(self) -> &'static str {
        match self {
            Self::Source => "wasm",
            Self::Artifact => "cwasm",
            Self::Manifest => "meta",
        }
    }

    /// The name of the file for this source.
    pub(super) fn file_name(self, source: &Digest) -> String {
        format!("{}.{}", source.hex(), self.extension())
    }

    /// What the file with this name holds, and for which source; `None` for names that are not
    /// the cache's.
    pub(super) fn of_file_name(name: &str) -> Option<(Self, Digest)> {
        let (hex, extension) = name.split_once('.')?;
        let kind = Self::ALL
            .into_iter()
            .find(|kind| kind.extension() == extension)?;
        Some((kind, Digest::from_hex(hex).ok()?))
    }
}

/// What an entry is found by: a source, and the profile it was compiled under.
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

    /// The name of the file that is locked while this key is compiled.
    pub(super) fn lock_name(&self) -> String {
        format!("{}-{}", self.profile, self.source.hex())
    }
}

#[cfg(test)]
mod tests {
    use super::FileKind;
    use crate::digest::Digest;

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
