//! The cache on disk: sources, artifacts and manifests in a private directory.
//!
//! The stages of an entry are the modules here: `publish` writes it, `lookup` finds it, `examine`
//! decides whether it is intact, `quarantine` moves it away when it is not, `evict` makes room and
//! `inventory` counts. Below them stand the directory (`private`, `layout`), the locks and the
//! temporary files.

mod artifact;
mod cache;
mod error;
mod evict;
mod get_or_compile;
mod inventory;
mod join;
mod layout;
mod lock;
mod lookup;
mod private;
mod publish;
mod root;
mod stat;
mod step;
mod verify;

pub use artifact::{ArtifactError, VerifiedArtifact};
pub use cache::{Cache, CacheOptions};
pub use error::{
    EvictError, ListError, LockError, LookupError, OpenError, PinError, PublishError, StorageError,
    VerifyError,
};
pub use evict::Evicted;
pub use get_or_compile::{CacheError, CompiledModule, Origin};
pub use inventory::{ArtifactSummary, EntrySummary, Usage};
pub use layout::SOURCE_BYTES_MAX;
pub use lock::KeyLock;
pub use step::Step;
pub use verify::Verdict;
