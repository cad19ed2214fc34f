//! Removing entries to keep the cache within its size.

pub(in crate::disk) mod pins;
pub(in crate::disk) mod sweep;

use std::collections::{BTreeMap, HashSet};

use rustix::fs::{AtFlags, unlinkat};
use rustix::io::Errno;

use super::error::StorageError;
use super::layout::{Directory, FORMAT, FileKind, Key, image_name};
use super::lock::ChangeLock;
use super::root::Root;
use crate::digest::Digest;
use crate::disk::files::stat::len_of;
use crate::disk::inventory::{EngineKey, Inventory, Stored, profiles};
use crate::disk::lookup::integrity;
use crate::disk::lookup::quarantine::remove_quarantined;
use crate::disk::publish::releases;
use crate::disk::step::Step;
use crate::profile::Fingerprint;

/// The result of an eviction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Evicted {
    /// Number of removed artifacts.
    pub artifacts: u64,
    /// Number of removed sources.
    pub sources: u64,
    /// Bytes that were freed.
    pub freed_bytes: u64,
    /// Remaining bytes; above the limit if pinned entries alone take more.
    pub left_bytes: u64,
}

/// Removes leftovers of crashes; then quarantined files, artifacts and sources, in this order and
/// each least recently used first, until at most `bytes_max` bytes are left. Sources in `pinned` and
/// in any holder's pins stay, with their artifacts.
///
/// Sources go last because an artifact can be compiled again from its source, while a source comes
/// back only from its owner. Files are only unlinked, so loaded code keeps running.
pub(super) fn evict(
    root: &Root,
    bytes_max: u64,
    mut pinned: HashSet<Digest>,
) -> Result<Evicted, StorageError> {
    sweep::leftovers(root);
    if root.open_format()?.is_none() {
        return Ok(Evicted::default());
    }
    let _lock = ChangeLock::acquire(root)?;
    pinned.extend(pins::all(root)?);
    let inventory = Inventory::scan(root)?;
    let mut room = Eviction {
        root,
        bytes_max,
        evicted: Evicted {
            left_bytes: inventory.usage().bytes(),
            ..Evicted::default()
        },
    };

    // Nothing is published while the lock is held, so an incomplete entry stays incomplete.
    for (profile, name, len) in &inventory.orphans {
        if room.unlink(Directory::Artifacts(*profile), name)? {
            room.freed(*len);
        }
    }
    room.evict_quarantined(&inventory)?;
    room.evict_artifacts(&inventory, &pinned)?;
    room.evict_sources(&inventory, &pinned)?;
    if inventory.release_bytes > 0 {
        // A release is worth nothing without its code.
        let left = Inventory::scan(root)?.last_uses();
        let freed = releases::remove(root, |source| !left.contains_key(source))?;
        room.freed(freed);
    }
    room.remove_empty_profiles()?;
    Ok(room.evicted)
}

/// Removes one artifact, so that its source can be compiled differently. Returns true if there was
/// one.
pub(super) fn discard(root: &Root, key: &Key) -> Result<bool, StorageError> {
    if root.open_format()?.is_none() {
        return Ok(false);
    }
    let _lock = ChangeLock::acquire(root)?;
    let room = Eviction {
        root,
        bytes_max: 0,
        evicted: Evicted::default(),
    };
    let image = integrity::manifest(root, key)
        .filter(|manifest| manifest.image.is_some())
        .map(|manifest| image_name(&key.source, &manifest.artifact));
    let manifest = room.unlink(key.directory(), &FileKind::Manifest.file_name(&key.source))?;
    let mut artifact = room.unlink(key.directory(), &FileKind::Artifact.file_name(&key.source))?;
    if let Some(image) = image {
        artifact |= room.unlink(key.directory(), &image)?;
    }
    Ok(manifest && artifact)
}

struct Eviction<'a> {
    root: &'a Root,
    bytes_max: u64,
    evicted: Evicted,
}

impl Eviction<'_> {
    fn is_within_limit(&self) -> bool {
        self.evicted.left_bytes <= self.bytes_max
    }

    fn freed(&mut self, bytes: u64) {
        self.evicted.freed_bytes += bytes;
        self.evicted.left_bytes = self.evicted.left_bytes.saturating_sub(bytes);
    }

    fn evict_quarantined(&mut self, inventory: &Inventory) -> Result<(), StorageError> {
        let Some(quarantine) = self.root.open_directory(Directory::Quarantine)? else {
            return Ok(());
        };
        let mut oldest_first: Vec<_> = inventory.quarantined.iter().collect();
        oldest_first.sort_by_key(|(_, stat)| (stat.st_ctime, stat.st_ctime_nsec));
        for (name, stat) in oldest_first {
            if self.is_within_limit() {
                break;
            }
            if remove_quarantined(self.root, &quarantine, name) {
                self.freed(len_of(stat));
            }
        }
        Ok(())
    }

    fn evict_artifacts(
        &mut self,
        inventory: &Inventory,
        pinned: &HashSet<Digest>,
    ) -> Result<(), StorageError> {
        let mut oldest_first: Vec<&(Fingerprint, Stored)> = inventory
            .artifacts
            .iter()
            .filter(|(_, stored)| !pinned.contains(&stored.source))
            .collect();
        oldest_first.sort_by_key(|(profile, stored)| (stored.last_used, stored.source, *profile));
        let mut needed: BTreeMap<EngineKey, u64> = BTreeMap::new();
        for ((profile, _), engines) in &inventory.images {
            for engine in engines {
                *needed.entry((*profile, *engine)).or_default() += 1;
            }
        }
        for (profile, stored) in oldest_first {
            if self.is_within_limit() {
                break;
            }
            let place = Directory::Artifacts(*profile);
            // The manifest goes first: without it, the artifact is not an entry.
            let manifest = self.unlink(place, &FileKind::Manifest.file_name(&stored.source))?;
            self.root.reached(Step::ManifestEvicted);
            let mut artifact = self.unlink(place, &FileKind::Artifact.file_name(&stored.source))?;
            let engines = inventory.images.get(&(*profile, stored.source));
            let engines = engines.map(Vec::as_slice).unwrap_or_default();
            for engine in engines {
                artifact |= self.unlink(place, &image_name(&stored.source, engine))?;
            }
            if manifest && artifact {
                self.evicted.artifacts += 1;
                self.freed(stored.len);
            }
            for engine in engines {
                self.release_engine((*profile, *engine), &mut needed, inventory)?;
            }
        }
        Ok(())
    }

    /// Removes an engine with the last image that needs it: nothing finds it without one.
    fn release_engine(
        &mut self,
        engine: EngineKey,
        needed: &mut BTreeMap<EngineKey, u64>,
        inventory: &Inventory,
    ) -> Result<(), StorageError> {
        let Some(images) = needed.get_mut(&engine) else {
            return Ok(());
        };
        *images -= 1;
        let (profile, native) = engine;
        if *images == 0
            && self.unlink(
                Directory::Artifacts(profile),
                &FileKind::Engine.file_name(&native),
            )?
        {
            self.freed(inventory.engines.get(&engine).copied().unwrap_or_default());
        }
        Ok(())
    }

    fn evict_sources(
        &mut self,
        inventory: &Inventory,
        pinned: &HashSet<Digest>,
    ) -> Result<(), StorageError> {
        let last_uses = inventory.last_uses();
        let mut oldest_first: Vec<&Stored> = inventory
            .sources
            .iter()
            .filter(|stored| !pinned.contains(&stored.source))
            .collect();
        oldest_first.sort_by_key(|stored| {
            let last_used = last_uses.get(&stored.source).copied();
            (last_used.unwrap_or(stored.last_used), stored.source)
        });
        for stored in oldest_first {
            if self.is_within_limit() {
                break;
            }
            if self.unlink(
                Directory::Sources,
                &FileKind::Source.file_name(&stored.source),
            )? {
                self.evicted.sources += 1;
                self.freed(stored.len);
            }
        }
        Ok(())
    }

    /// Unlinks a file. Returns true if there was one.
    fn unlink(&self, place: Directory, name: &str) -> Result<bool, StorageError> {
        let Some(directory) = self.root.open_directory(place)? else {
            return Ok(false);
        };
        match unlinkat(directory, name, AtFlags::empty()) {
            Ok(()) => Ok(true),
            // A directory is in its place; a lookup will move it to the quarantine.
            Err(Errno::NOENT | Errno::ISDIR) => Ok(false),
            Err(error) => Err(StorageError::writing(
                "remove",
                &place.path(self.root.path()).join(name),
                error,
            )),
        }
    }

    /// Removes the empty directories of profiles.
    fn remove_empty_profiles(&self) -> Result<(), StorageError> {
        let Some(format) = self.root.open_format()? else {
            return Ok(());
        };
        for profile in profiles(self.root)? {
            match unlinkat(&format, profile.to_string(), AtFlags::REMOVEDIR) {
                Ok(()) | Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOENT) => {}
                Err(error) => {
                    let path = self.root.path().join(FORMAT).join(profile.to_string());
                    return Err(StorageError::writing("remove", &path, error));
                }
            }
        }
        Ok(())
    }
}
