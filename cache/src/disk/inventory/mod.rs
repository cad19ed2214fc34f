//! Lists and counts the stored files.

pub(in crate::disk) mod verify;

use std::collections::BTreeMap;
use std::time::SystemTime;

use rustix::fs::{FileType, Stat};

use crate::digest::Digest;
use crate::disk::error::StorageError;
use crate::disk::files::private::names_in;
use crate::disk::files::stat::{last_use, len_of};
use crate::disk::layout::{Directory, FORMAT, FileKind, Key, of_image_name, of_release_name};
use crate::disk::lookup::integrity;
use crate::disk::root::Root;
use crate::manifest::Manifest;
use crate::profile::Fingerprint;

/// A source and the artifacts compiled from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntrySummary {
    /// The source's digest.
    pub source: Digest,
    /// Length of the source, in bytes; `None` if only artifacts are stored.
    pub source_len: Option<u64>,
    /// Last use of the source or of an artifact, accurate to an hour.
    pub last_used: SystemTime,
    /// Artifacts of the source.
    pub artifacts: Vec<ArtifactSummary>,
}

/// One artifact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArtifactSummary {
    /// Fingerprint of the profile it was compiled under.
    pub profile: Fingerprint,
    /// Length of the artifact, in bytes; of the image alone, if it has one.
    pub len: u64,
    /// Last use, accurate to an hour.
    pub last_used: SystemTime,
    /// Description of the artifact; `None` if it cannot be read.
    pub manifest: Option<Manifest>,
}

/// Numbers of stored files, and their sizes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Number of sources.
    pub sources: u64,
    /// Bytes of the sources, and of the signed manifests of their releases.
    pub source_bytes: u64,
    /// Number of artifacts.
    pub artifacts: u64,
    /// Bytes of the artifacts, their manifests, and the engines.
    pub artifact_bytes: u64,
    /// Number of engines: native code that several artifacts share.
    pub engines: u64,
    /// Bytes of the engines.
    pub engine_bytes: u64,
    /// Number of files in the quarantine.
    pub quarantined: u64,
    /// Bytes of the files in the quarantine.
    pub quarantined_bytes: u64,
    /// Bytes of files that are being written or that a crash has left behind.
    pub temporary_bytes: u64,
}

impl Usage {
    /// Returns the total, in bytes.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.source_bytes + self.artifact_bytes + self.quarantined_bytes + self.temporary_bytes
    }
}

/// One stored file, or an artifact or image with its manifest.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stored {
    pub(super) source: Digest,
    /// Length in bytes, including the manifest.
    pub(super) len: u64,
    pub(super) last_used: SystemTime,
}

/// An engine, by its profile and the digest of its native code.
pub(super) type EngineKey = (Fingerprint, Digest);

/// All stored files.
#[derive(Debug, Default)]
pub(super) struct Inventory {
    pub(super) sources: Vec<Stored>,
    pub(super) artifacts: Vec<(Fingerprint, Stored)>,
    /// Engines that some image needs, and their lengths in bytes.
    pub(super) engines: BTreeMap<EngineKey, u64>,
    /// The engines of images.
    pub(super) images: BTreeMap<(Fingerprint, Digest), Vec<Digest>>,
    /// Artifacts without a manifest, manifests without an artifact, images without an engine, and the
    /// reverse of each.
    pub(super) orphans: Vec<(Fingerprint, String, u64)>,
    pub(super) quarantined: Vec<(String, Stat)>,
    pub(super) temporary_bytes: u64,
    /// Bytes of the signed manifests of releases.
    pub(super) release_bytes: u64,
}

impl Inventory {
    /// Lists every directory. Changes during the scan may or may not be included.
    pub(super) fn scan(root: &Root) -> Result<Self, StorageError> {
        let mut inventory = Self::default();
        for (name, stat) in names(root, Directory::Sources)? {
            if let Some((FileKind::Source, source)) = FileKind::of_file_name(&name) {
                inventory.sources.push(Stored {
                    source,
                    len: len_of(&stat),
                    last_used: last_use(&stat),
                });
            }
        }
        for profile in profiles(root)? {
            inventory.add_profile(profile, &names(root, Directory::Artifacts(profile))?);
        }
        inventory.release_bytes = names(root, Directory::Releases)?
            .iter()
            .filter(|(name, _)| of_release_name(name).is_some())
            .map(|(_, stat)| len_of(stat))
            .sum();
        inventory.quarantined = names(root, Directory::Quarantine)?;
        inventory.temporary_bytes = names(root, Directory::Temporary)?
            .iter()
            .map(|(_, stat)| len_of(stat))
            .sum();
        Ok(inventory)
    }

    fn add_profile(&mut self, profile: Fingerprint, names: &[(String, Stat)]) {
        let mut entries: BTreeMap<Digest, FilesOfEntry<'_>> = BTreeMap::new();
        let mut engines: BTreeMap<Digest, &(String, Stat)> = BTreeMap::new();
        for file in names {
            match FileKind::of_file_name(&file.0) {
                Some((FileKind::Artifact, source)) => {
                    entries.entry(source).or_default().artifact = Some(file);
                }
                Some((FileKind::Manifest, source)) => {
                    entries.entry(source).or_default().manifest = Some(file);
                }
                Some((FileKind::Engine, native)) => {
                    engines.insert(native, file);
                }
                Some((FileKind::Source, _)) => {}
                None => {
                    if let Some((source, native)) = of_image_name(&file.0) {
                        entries
                            .entry(source)
                            .or_default()
                            .images
                            .push((native, file));
                    }
                }
            }
        }
        let mut orphan = |(name, stat): &(String, Stat)| {
            self.orphans.push((profile, name.clone(), len_of(stat)));
        };
        for (source, files) in entries {
            let FilesOfEntry {
                artifact,
                mut images,
                manifest,
            } = files;
            let without_engine =
                |(native, _): &mut (Digest, &(String, Stat))| !engines.contains_key(native);
            for (_, file) in images.extract_if(.., without_engine) {
                orphan(file);
            }
            let Some(manifest) = manifest.filter(|_| artifact.is_some() || !images.is_empty())
            else {
                let images = images.into_iter().map(|(_, file)| file);
                artifact
                    .into_iter()
                    .chain(manifest)
                    .chain(images)
                    .for_each(&mut orphan);
                continue;
            };
            let mut len = len_of(&manifest.1) + artifact.map_or(0, |(_, stat)| len_of(stat));
            for (native, (_, stat)) in images {
                len += len_of(stat);
                self.images
                    .entry((profile, source))
                    .or_default()
                    .push(native);
                if let Some((_, stat)) = engines.get(&native) {
                    self.engines.insert((profile, native), len_of(stat));
                }
            }
            let stored = Stored {
                source,
                len,
                last_used: last_use(&manifest.1),
            };
            self.artifacts.push((profile, stored));
        }
        for (native, file) in engines {
            if !self.engines.contains_key(&(profile, native)) {
                orphan(file);
            }
        }
    }

    pub(super) fn usage(&self) -> Usage {
        let sum = |lengths: &mut dyn Iterator<Item = u64>| lengths.sum();
        Usage {
            sources: self.sources.len() as u64,
            source_bytes: self.release_bytes
                + sum(&mut self.sources.iter().map(|stored| stored.len)),
            artifacts: self.artifacts.len() as u64,
            artifact_bytes: sum(&mut self.artifacts.iter().map(|(_, stored)| stored.len))
                + sum(&mut self.engines.values().copied()),
            engines: self.engines.len() as u64,
            engine_bytes: sum(&mut self.engines.values().copied()),
            quarantined: self.quarantined.len() as u64,
            quarantined_bytes: sum(&mut self.quarantined.iter().map(|(_, stat)| len_of(stat))),
            temporary_bytes: self.temporary_bytes
                + sum(&mut self.orphans.iter().map(|(_, _, len)| *len)),
        }
    }

    /// Returns the last use of every source or of any of its artifacts.
    pub(super) fn last_uses(&self) -> BTreeMap<Digest, SystemTime> {
        let artifacts = self.artifacts.iter().map(|(_, stored)| stored);
        let mut uses = BTreeMap::new();
        for stored in self.sources.iter().chain(artifacts) {
            let last = uses.entry(stored.source).or_insert(stored.last_used);
            *last = stored.last_used.max(*last);
        }
        uses
    }
}

/// The files of a source under one profile.
#[derive(Default)]
struct FilesOfEntry<'a> {
    artifact: Option<&'a (String, Stat)>,
    /// Images, by the engines that they need. There is one, unless the source was compiled anew.
    images: Vec<(Digest, &'a (String, Stat))>,
    manifest: Option<&'a (String, Stat)>,
}

/// Lists all entries, most recently used first.
pub(super) fn list(root: &Root) -> Result<Vec<EntrySummary>, StorageError> {
    let inventory = Inventory::scan(root)?;
    let mut entries: BTreeMap<Digest, EntrySummary> = inventory
        .last_uses()
        .into_iter()
        .map(|(source, last_used)| {
            let entry = EntrySummary {
                source,
                source_len: None,
                last_used,
                artifacts: Vec::new(),
            };
            (source, entry)
        })
        .collect();
    for stored in &inventory.sources {
        if let Some(entry) = entries.get_mut(&stored.source) {
            entry.source_len = Some(stored.len);
        }
    }
    for (profile, stored) in &inventory.artifacts {
        let Some(entry) = entries.get_mut(&stored.source) else {
            continue;
        };
        let key = Key {
            source: stored.source,
            profile: *profile,
        };
        let manifest = integrity::manifest(root, &key);
        entry.artifacts.push(ArtifactSummary {
            profile: *profile,
            len: manifest.as_ref().map_or(stored.len, |manifest| {
                let image = manifest.image.as_ref();
                image.map_or(manifest.artifact_len, |image| image.len)
            }),
            last_used: stored.last_used,
            manifest,
        });
    }
    let mut entries: Vec<_> = entries.into_values().collect();
    entries.sort_by(|one, other| (other.last_used, one.source).cmp(&(one.last_used, other.source)));
    Ok(entries)
}

/// Returns the profiles that have a directory.
pub(super) fn profiles(root: &Root) -> Result<Vec<Fingerprint>, StorageError> {
    let Some(format) = root.open_format()? else {
        return Ok(Vec::new());
    };
    let names = names_in(format)
        .map_err(|error| StorageError::reading("list", &root.path().join(FORMAT), error))?;
    Ok(names
        .iter()
        .filter(|(_, stat)| FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
        .filter_map(|(name, _)| name.parse().ok())
        .collect())
}

fn names(root: &Root, place: Directory) -> Result<Vec<(String, Stat)>, StorageError> {
    let Some(directory) = root.open_directory(place)? else {
        return Ok(Vec::new());
    };
    names_in(directory)
        .map_err(|error| StorageError::reading("list", &place.path(root.path()), error))
}
