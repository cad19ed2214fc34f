//! Brings a backup back, where there is no data yet.

use std::path::Path;
use std::time::Duration;

use ferrite_store::{DiskOptions, Store, StoreOptions};

use super::create::{open_cache, write_synced};
use super::{BackupError, Layout, VERSION, at};
use crate::config::Config;

/// Time that the disk has to take the last of the restored data.
const CLOSE_TIME: Duration = Duration::from_secs(60);

/// The data that was brought back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restored {
    /// Keys, of all databases together.
    pub keys: usize,
    /// Functions.
    pub functions: usize,
}

/// Copies the backup in `folder` to where a server with this configuration looks for its data. Nothing
/// may be there. The data is read as a whole, so that damage is found now.
///
/// # Errors
///
/// [`BackupError`]. What was copied before that is removed by hand.
pub fn restore(config: &Config, folder: &Path) -> Result<Restored, BackupError> {
    let layout = Layout::of(folder);
    check(folder, &layout)?;
    let data = config.below_dir(&config.store.data_dir);
    let registry = config.wasm.registry.as_ref();
    let registry = registry.map(|path| config.below_dir(path));
    for path in [Some(&data), registry.as_ref()].into_iter().flatten() {
        if path.exists() {
            return Err(BackupError::Occupied { path: path.clone() });
        }
    }
    copy_folder(&layout.data, &data)?;
    let keys = {
        let store = Store::open(&StoreOptions::default(), DiskOptions::new(&data))?;
        let keys = store.usage().iter().map(|usage| usage.keys).sum();
        at(
            &data,
            "written",
            store.close(CLOSE_TIME).map_err(std::io::Error::other),
        )?;
        keys
    };
    let mut functions = 0;
    if layout.registry.is_file()
        && let Some(registry) = &registry
    {
        functions = copy_sources(config, &layout)?;
        let text = at(&layout.registry, "read", std::fs::read(&layout.registry))?;
        write_synced(registry, &text)?;
    }
    Ok(Restored { keys, functions })
}

/// Refuses a folder that is no complete backup, or one of another version.
fn check(folder: &Path, layout: &Layout) -> Result<(), BackupError> {
    let problem = |problem: &str| BackupError::NoBackup {
        path: folder.to_owned(),
        problem: problem.to_owned(),
    };
    let text = std::fs::read_to_string(&layout.manifest)
        .map_err(|error| problem(&format!("{}: {error}", layout.manifest.display())))?;
    let expected = format!("{{\"version\":{VERSION},");
    if !text.starts_with(&expected) {
        return Err(problem("backup.json has another version"));
    }
    if !layout.data.is_dir() {
        return Err(problem("it has no data/store"));
    }
    Ok(())
}

/// Puts the sources of a backup into the cache; returns their number.
fn copy_sources(config: &Config, layout: &Layout) -> Result<usize, BackupError> {
    if !layout.cache.is_dir() || !config.cache.enabled {
        return Ok(0);
    }
    let cache = open_cache(&config.below_dir(&config.cache.compiled_cache_dir))?;
    let sources = layout.cache.join("v1/source");
    let mut count = 0;
    for entry in at(&sources, "read", std::fs::read_dir(&sources))? {
        let path = at(&sources, "read", entry)?.path();
        let source = at(&path, "read", std::fs::read(&path))?;
        let digest = cache
            .put_source(&source)
            .map_err(|error| BackupError::NoBackup {
                path: path.clone(),
                problem: error.to_string(),
            })?;
        // Its name is its digest, so damage is seen.
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        if !digest.to_string().ends_with(&*name) {
            return Err(BackupError::NoBackup {
                path,
                problem: format!("the source is damaged: its digest is {digest}"),
            });
        }
        count += 1;
    }
    Ok(count)
}

fn copy_folder(from: &Path, to: &Path) -> Result<(), BackupError> {
    at(to, "created", std::fs::create_dir_all(to))?;
    for entry in at(from, "read", std::fs::read_dir(from))? {
        let entry = at(from, "read", entry)?;
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            copy_folder(&from, &to)?;
        } else {
            at(&to, "written", std::fs::copy(&from, &to))?;
            let synced = std::fs::File::open(&to).and_then(|file| file.sync_all());
            at(&to, "synced", synced)?;
        }
    }
    Ok(())
}
