//! Checks every byte of all stored entries.

use crate::digest::Digest;
use crate::disk::error::StorageError;
use crate::disk::inventory::Inventory;
use crate::disk::layout::Key;
use crate::disk::lookup::integrity::{self, Integrity, Purpose};
use crate::disk::lookup::quarantine::{recheck_artifact, recheck_source};
use crate::disk::root::Root;
use crate::profile::Fingerprint;

/// The result of checking one source or artifact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The source's digest.
    pub source: Digest,
    /// Profile of the checked artifact; `None` if the source was checked.
    pub profile: Option<Fingerprint>,
    /// Describes the damage, if any. The entry was moved to the quarantine and is compiled again when
    /// it is next needed.
    pub damage: Option<String>,
}

/// Checks all entries and quarantines damaged ones.
pub(in crate::disk) fn verify(root: &Root) -> Result<Vec<Verdict>, StorageError> {
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
