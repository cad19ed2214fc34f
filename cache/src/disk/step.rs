//! The steps of changing the cache, for tests that stop in the middle.

use std::sync::Arc;

/// A step that has just been taken. Whatever happens right after it must leave the old state or
/// the new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// A temporary file exists, and is empty.
    Created,
    /// Half of its bytes are written.
    HalfWritten,
    /// All of its bytes are written.
    Written,
    /// They are on disk.
    Synced,
    /// No other process can change entries now.
    Locked,
    /// A source has its name.
    SourceNamed,
    /// An artifact has its name; its manifest does not.
    ArtifactNamed,
    /// A manifest has its name.
    ManifestNamed,
    /// The directory is on disk.
    DirectorySynced,
    /// Something looks damaged. Nothing is locked yet, so it may be in the middle of a change.
    Suspected,
    /// A manifest was moved to the quarantine; its artifact was not.
    ManifestQuarantined,
    /// A manifest was evicted; its artifact was not.
    ManifestEvicted,
}

/// What is told about every step.
pub(super) type Observer = Arc<dyn Fn(Step) + Send + Sync>;
