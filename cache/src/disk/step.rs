//! The steps of a change to the cache, for tests that interrupt it.

use std::sync::Arc;

/// A step that is done. A crash right after any step must leave the old state or the new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// An empty temporary file exists.
    Created,
    /// Half of its bytes are written.
    HalfWritten,
    /// All of its bytes are written.
    Written,
    /// The temporary file is on disk.
    Synced,
    /// The change lock is held: no other process can change entries.
    Locked,
    /// A source has its name.
    SourceNamed,
    /// An engine has its name; the image that needs it does not.
    EngineNamed,
    /// An artifact or an image has its name; its manifest does not.
    ArtifactNamed,
    /// A manifest has its name.
    ManifestNamed,
    /// The directory is on disk.
    DirectorySynced,
    /// An entry looks damaged. No lock is held yet, so it may be in the middle of a change.
    Suspected,
    /// A manifest was moved to the quarantine; its artifact was not.
    ManifestQuarantined,
    /// A manifest was evicted; its artifact was not.
    ManifestEvicted,
}

/// A callback that is called after every step.
pub(super) type Observer = Arc<dyn Fn(Step) + Send + Sync>;
