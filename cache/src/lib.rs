//! Content-addressed cache of sources, artifacts and manifests.
//!
//! The compiler writes into the cache, the runtime reads from it, and neither knows the other. The
//! crate also holds what both sides share:
//!
//! - [`Digest`] identifies bytes;
//! - [`Profile`] describes everything that decides native code, and is the only source of a
//!   `wasmtime::Config`;
//! - [`Manifest`] describes one artifact;
//! - [`Image`] is what a function has of its own where several share one artifact;
//! - [`javascript`] is what a compiler and a host do alike with a program in JavaScript;
//! - [`bundle`] is the signed archive that carries artifacts to another machine;
//! - [`worker_protocol`] is what a compile worker and its parent send each other.
//!
//! ```
//! use ferrite_cache::{Cache, CacheOptions, Digest, Manifest, Profile};
//! # use ferrite_cache::{ModuleInfo, Rewind};
//! # fn manifest(source: &[u8], artifact: &[u8], profile: Profile) -> Manifest {
//! #     Manifest {
//! #         source: Digest::of(source),
//! #         source_len: source.len() as u64,
//! #         artifact: Digest::of(artifact),
//! #         artifact_len: artifact.len() as u64,
//! #         profile,
//! #         module: ModuleInfo {
//! #             name: None,
//! #             imports: Vec::new(),
//! #             exports: Vec::new(),
//! #             entries: Vec::new(),
//! #             memory: None,
//! #             table_elements_min: 0,
//! #             functions: 0,
//! #             code_len: 0,
//! #             initialize: false,
//! #             start: false,
//! #             rewind: Rewind::Refused { reason: "it is an example".to_owned() },
//! #             meter: None,
//! #             stack_depth: None,
//! #             automation: ferrite_cache::Automation::default(),
//! #             limits: None,
//! #         },
//! #         compile_micros: 0,
//! #         signed_by: None,
//! #         image: None,
//! #     }
//! # }
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let directory = tempfile::tempdir()?;
//! let cache = Cache::open(CacheOptions {
//!     root: directory.path().join("cache"),
//!     size_bytes_max: 1 << 30,
//! })?;
//!
//! // The compiler produces these three.
//! let (source, artifact) = (b"\0asm\x01\0\0\0", b"native code");
//! let profile = Profile::native();
//! let manifest = manifest(source, artifact, profile.clone());
//! cache.publish_with_source(source, &manifest, artifact)?;
//!
//! let found = cache.lookup(&Digest::of(source), &profile)?;
//! assert_eq!(found.map(|found| found.len()), Some(11));
//! # Ok(())
//! # }
//! ```

#[cfg(not(any(
    all(target_os = "linux", target_arch = "x86_64"),
    all(target_os = "linux", target_arch = "aarch64"),
    all(target_os = "macos", target_arch = "aarch64"),
)))]
compile_error!("Ferrite WASM runs on Linux on x86-64 and aarch64, and on macOS on aarch64");

mod artifact_bytes;
mod automation;
pub mod bundle;
mod depth;
mod digest;
mod disk;
mod image;
pub mod javascript;
mod key_id;
mod manifest;
mod meter;
mod module_info;
mod profile;
mod rewind;
pub mod worker_protocol;

pub use artifact_bytes::{ArtifactBuf, ArtifactBytes, ArtifactError};
pub use automation::{
    AUTOMATION_BYTES_MAX, AUTOMATION_SECTION, Automation, AutomationError, DECLARATIONS_MAX,
    DeclaredSchedule, DeclaredTime, DeclaredTrigger, MissingEntry,
};
pub use depth::{
    CodeOffsetMap, CodeOffsetMapWriter, DEPTH_REMAINING_EXPORT, DEPTH_START_EXPORT, DepthPlan,
};
pub use digest::{Digest, DigestError};
#[doc(hidden)]
pub use disk::Step;
pub use disk::{
    ArtifactSummary, Cache, CacheError, CacheOptions, CompiledModule, EntrySummary, EvictError,
    Evicted, KeyLock, KnownEngine, ListError, LockError, LookupError, OpenError, Origin, PinError,
    PublishError, SOURCE_BYTES_MAX, StorageError, Usage, Verdict, VerifiedArtifact, VerifyError,
};
pub use image::{
    ENGINE_ENTRY_PREFIX, IMAGE_PAGE_BYTES, IMAGE_RUNS_MAX, Image, ImageError, ImageInfo,
    ImagePages, ImageRun, ImageValue, engine_base, patches,
};
pub use javascript::{JavaScript, JavaScriptError};
pub use manifest::{Manifest, ManifestError};
pub use meter::{METER_FUEL_EXPORT, METER_HOOK_EXPORT, METER_START_EXPORT, MeterPlan};
pub use module_info::{
    EntryInfo, EntryKind, ExportInfo, ExportKind, ImportInfo, LIMITS_BYTES_MAX, LIMITS_SECTION,
    MemoryInfo, ModuleInfo, Signature, TABLE_ELEMENTS_MAX, ValueType, WASM_PAGE_BYTES,
};
pub use profile::{
    Baseline, EngineProfile, Fingerprint, FingerprintError, Metering, Profile, ProfileError,
    Security, Target, UnknownName, build_version,
};
pub use rewind::{OffsetShift, REWRITING_VERSION, Rewind, RewindPlan};
