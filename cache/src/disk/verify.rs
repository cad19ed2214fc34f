//! Checking everything that is stored, byte by byte.

use crate::digest::Digest;
use crate::disk::error::StorageError;
use crate::disk::inventory::Inventory;
use crate::disk::layout::Key;
use crate::disk::lookup::integrity::{self, Integrity, Purpose};
use crate::disk::lookup::quarantine::{recheck_artifact, recheck_source};
use crate::disk::root::Root;
use crate::profile::Fingerprint;

/// What checking one stored thing found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The source's digest.
    pub source: Digest,
    /// The profile of the artifact that was checked; `None` if it was the source itself.
    pub profile: Option<Fingerprint>,
    /// What is wrong with it, in words. It has been moved to the quarantine and will be compiled
    /// again when it is next needed.
    pub damage: Option<String>,
}

/// Checks everything, byte by byte; what is damaged is moved away.
pub(super) fn verify(root: &Root) -> Result<Vec<Verdict>, StorageError> {
    let inventory = Inventory::scan(root)?;
    let mut verdicts = Vec::new();
    for stored in &inventory.sources {
        let damage = match integrity::source(root, &stored.source, Purpose::Check)? {
            Integrity::Intact(_) => None,
            Integrity::Absent => continue,
            Integrity::Damaged(damage) => recheck_source(root, &stored.source, &damage)?
                .is_none()
                .then_some(damage),
        };
        verdicts.push(Verdict {
            source: stored.source,
            profile: None,
            damage,
        });
    }
    for (profile, stored) in &inventory.artifacts {
        let key = Key {
            source: stored.source,
            profile: *profile,
        };
        let damage = match integrity::artifact(root, &key, Purpose::Check)? {
            Integrity::Intact(_) => None,
            Integrity::Absent => continue,
            Integrity::Damaged(damage) => recheck_artifact(root, &key, &damage)?
                .is_none()
                .then_some(damage),
        };
        verdicts.push(Verdict {
            source: stored.source,
            profile: Some(*profile),
            damage,
        });
    }
    Ok(verdicts)
}
