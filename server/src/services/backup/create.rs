//! Makes a backup while the server runs.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use ferrite_cache::{Cache, CacheOptions};
use ferrite_runtime::Record;

use super::{BackupError, Layout, VERSION, at};
use crate::process::figures::unix_seconds;
use crate::state::ServerState;

/// Makes a backup and returns its folder. Blocks until it is on disk.
pub(crate) fn create(state: &ServerState) -> Result<PathBuf, BackupError> {
    let running = state.backups.begin().ok_or(BackupError::Busy)?;
    let began = Instant::now();
    let made = write(state);
    match &made {
        Ok((folder, commit)) => {
            running.done(unix_seconds(), *commit, began.elapsed());
            tracing::info!(
                folder = %folder.display(),
                commit,
                took_ms = began.elapsed().as_millis(),
                "a backup was made"
            );
        }
        Err(error) => {
            let error: &dyn std::error::Error = error;
            tracing::error!(error, "no backup could be made");
        }
    }
    made.map(|(folder, _)| folder)
}

fn write(state: &ServerState) -> Result<(PathBuf, u64), BackupError> {
    let config = &state.config;
    let parent = config.below_dir(&config.store.backup_dir);
    at(&parent, "created", std::fs::create_dir_all(&parent))?;
    // A name with a dot, until everything is in it.
    let unfinished = parent.join(format!(".unfinished-{}", std::process::id()));
    if unfinished.exists() {
        at(&unfinished, "removed", std::fs::remove_dir_all(&unfinished))?;
    }
    let made = fill(state, &unfinished);
    let commit = match made {
        Ok(commit) => commit,
        Err(error) => {
            // The error that is reported is the first one.
            let _ = std::fs::remove_dir_all(&unfinished);
            return Err(error);
        }
    };
    let name = format!("{}-{commit}", date_and_time(unix_seconds()));
    let mut folder = parent.join(&name);
    // One that was made in the same second, with nothing written since.
    let mut number = 2;
    while folder.exists() {
        folder = parent.join(format!("{name}-{number}"));
        number += 1;
    }
    at(&folder, "created", std::fs::rename(&unfinished, &folder))?;
    at(
        &parent,
        "synced",
        File::open(&parent).and_then(|it| it.sync_all()),
    )?;
    Ok((folder, commit))
}

/// Writes everything into the folder; returns the number of the last commit in it.
fn fill(state: &ServerState, folder: &Path) -> Result<u64, BackupError> {
    let layout = Layout::of(folder);
    at(folder, "created", std::fs::create_dir_all(folder))?;
    let commit = state.store.back_up(&layout.data)?;
    let records: Vec<Record> = state.functions.as_ref().map_or_else(Vec::new, |runtime| {
        let functions = runtime.functions();
        functions.iter().map(|it| it.record().clone()).collect()
    });
    let registry = state
        .config
        .wasm
        .registry
        .as_ref()
        .map(|path| state.config.below_dir(path))
        .filter(|path| path.is_file());
    if let Some(registry) = &registry {
        let text = at(registry, "read", std::fs::read(registry))?;
        write_synced(&layout.registry, &text)?;
        copy_sources(state, &layout.cache, &records)?;
    }
    let manifest = format!(
        "{{\"version\":{VERSION},\"server\":\"{}\",\"created_unix\":{},\"commit\":{commit},\"functions\":{}}}\n",
        env!("CARGO_PKG_VERSION"),
        unix_seconds(),
        if registry.is_some() { records.len() } else { 0 },
    );
    write_synced(&layout.manifest, manifest.as_bytes())?;
    at(
        folder,
        "synced",
        File::open(folder).and_then(|it| it.sync_all()),
    )?;
    Ok(commit)
}

/// Copies the source of every function that has one in the cache.
fn copy_sources(state: &ServerState, to: &Path, records: &[Record]) -> Result<(), BackupError> {
    let Some(cache) = state.functions.as_ref().and_then(|runtime| runtime.cache()) else {
        return Ok(());
    };
    let target = open_cache(to)?;
    for record in records {
        let failed = |action, problem: String| BackupError::Source {
            digest: record.digest.to_string(),
            function: record.name.as_str().to_owned(),
            action,
            problem,
        };
        let source = cache
            .source(&record.digest)
            .map_err(|error| failed("read", error.to_string()))?
            .ok_or_else(|| failed("read", "the cache does not have it".to_owned()))?;
        target
            .put_source(&source)
            .map_err(|error| failed("written", error.to_string()))?;
    }
    Ok(())
}

pub(super) fn open_cache(root: &Path) -> Result<Cache, BackupError> {
    let parent = root.parent().unwrap_or(root);
    at(parent, "created", std::fs::create_dir_all(parent))?;
    let options = CacheOptions {
        root: root.to_owned(),
        size_bytes_max: u64::MAX,
    };
    Cache::open(options).map_err(|error| BackupError::NoBackup {
        path: root.to_owned(),
        problem: error.to_string(),
    })
}

pub(super) fn write_synced(path: &Path, bytes: &[u8]) -> Result<(), BackupError> {
    let parent = path.parent().unwrap_or(path);
    at(parent, "created", std::fs::create_dir_all(parent))?;
    let write = || {
        let mut file = File::create_new(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    at(path, "written", write())
}

/// Returns a time as `20260102-030405`, in universal time.
fn date_and_time(unix_seconds: u64) -> String {
    let (days, seconds) = (unix_seconds / 86_400, unix_seconds % 86_400);
    // Howard Hinnant's days_from_civil, turned round: years begin in March, so that the leap day is
    // the last of one.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!(
        "{year:04}{month:02}{day:02}-{:02}{:02}{:02}",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    )
}

#[cfg(test)]
mod tests {
    use super::date_and_time;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, text) in [
            (0, "19700101-000000"),
            (951_782_399, "20000228-235959"),
            (951_782_400, "20000229-000000"),
            (1_709_251_200, "20240301-000000"),
            (1_767_225_599, "20251231-235959"),
            (4_107_542_400, "21000301-000000"),
        ] {
            assert_eq!(date_and_time(seconds), text);
        }
    }
}
