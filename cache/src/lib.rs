//! Content-addressed cache of sources, artifacts and manifests.
//!
//! The vocabulary that both sides of the pipeline share stands here too: [`Digest`] names bytes,
//! [`Profile`] names everything that decides native code (and alone turns into a
//! `wasmtime::Config`), [`Manifest`] says what is known about one artifact, and [`handoff`] is how
//! a compile worker and its parent talk. The compiler writes into the cache, the runtime reads out
//! of it, and neither knows the other.

#[cfg(not(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
)))]
compile_error!("Ferrite WASM runs on Linux, on x86-64 and aarch64");

pub mod bundle;
mod depth;
mod digest;
mod disk;
pub mod handoff;
mod key_id;
mod manifest;
mod meter;
mod module_info;
mod profile;
mod rewind;

pub use depth::{CodeMoves, CodeMovesWriter, DEPTH_LEFT_EXPORT, DEPTH_START_EXPORT, DepthPlan};
pub use digest::{Digest, DigestError};
#[doc(hidden)]
pub use disk::Step;
pub use disk::{
    ArtifactError, ArtifactSummary, Cache, CacheOptions, EntrySummary, EvictError, Evicted,
    KeyLock, ListError, LockError, LookupError, OpenError, PinError, PublishError,
    SOURCE_BYTES_MAX, StorageError, Usage, Verdict, VerifiedArtifact, VerifyError,
};
pub use manifest::{MANIFEST_BYTES_MAX, Manifest, ManifestError};
pub use meter::{METER_FUEL_EXPORT, METER_HOOK_EXPORT, METER_START_EXPORT, MeterPlan};
pub use module_info::{
    EntryInfo, EntryKind, ExportInfo, ExportKind, ImportInfo, MemoryInfo, ModuleInfo, Signature,
    ValueType,
};
pub use profile::{
    Baseline, EngineProfile, Fingerprint, FingerprintError, Metering, Profile, ProfileError,
    Security, Target, UnknownName,
};
pub use rewind::{OffsetShift, REWRITING_VERSION, Rewind, RewindPlan};
