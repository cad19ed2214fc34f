//! The cache on disk: sources, artifacts and manifests in a private directory.
//!
//! The folders are the stages of an entry: `publish` writes it, `lookup` finds it, checks its
//! integrity and quarantines a damaged one, `evict` makes room. `get_or_compile` puts the stages
//! together, `inventory` lists the entries, `verify` checks them all. The rest is shared: the
//! directory's layout, files as the system has them, locks.

mod artifact;
mod cache;
mod engines;
mod error;
mod evict;
mod files;
mod get_or_compile;
mod inventory;
mod join;
mod layout;
mod lock;
mod lookup;
mod publish;
mod root;
mod step;

pub use artifact::VerifiedArtifact;
pub use cache::{Cache, CacheOptions};
pub use engines::KnownEngine;
pub use error::{
    EvictError, ListError, LockError, LookupError, OpenError, PinError, PublishError, StorageError,
    VerifyError,
};
pub use evict::Evicted;
pub use get_or_compile::{CacheError, CompiledModule, Origin};
pub use inventory::verify::Verdict;
pub use inventory::{ArtifactSummary, EntrySummary, Usage};
pub use layout::SOURCE_BYTES_MAX;
pub use lock::KeyLock;
pub use step::Step;
