//! Reloads functions whose files in `module_dir` change.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::{MissedTickBehavior, interval};

use crate::functions::Functions;
use crate::state::ServerState;

/// Time between checks of the files. A check is one system call a file and works on every file
/// system, unlike notifications.
const POLL_INTERVAL: Duration = Duration::from_millis(250);

/// Checks the files until it is dropped.
pub(crate) async fn run(state: Arc<ServerState>) {
    let mut watcher = Watcher::default();
    let mut ticks = interval(POLL_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let state = Arc::clone(&state);
        let looked = tokio::task::spawn_blocking(move || {
            if let Some(runtime) = &state.functions {
                watcher.check(runtime);
            }
            watcher
        });
        match looked.await {
            Ok(back) => watcher = back,
            Err(error) => {
                tracing::error!(%error, "hot reload stopped because of a panic, which is a bug");
                return;
            }
        }
    }
}

/// Time and size of a file, to notice a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FileStamp {
    modified: Option<SystemTime>,
    bytes: u64,
}

/// The file of a function.
#[derive(Clone, Copy, Debug)]
struct WatchedFile {
    /// The file when it was last loaded, or first seen.
    loaded: FileStamp,
    /// The file at the last check.
    last: FileStamp,
}

/// The files of all functions.
#[derive(Debug, Default)]
struct Watcher {
    files: HashMap<PathBuf, WatchedFile>,
}

impl Watcher {
    /// Reloads the functions whose files have changed since they were loaded, but not since the last
    /// check: a file may still be being written.
    fn check(&mut self, runtime: &Functions) {
        let Some(dir) = runtime.options().source.module_dir.clone() else {
            return;
        };
        for (path, names) in functions_by_file(runtime, &dir) {
            let Some(look) = stamp(&path) else {
                continue;
            };
            let known = self.files.entry(path.clone()).or_insert_with(|| {
                tracing::info!(functions = ?names, file = %path.display(), "watching");
                WatchedFile {
                    loaded: look,
                    last: look,
                }
            });
            let settled = known.last == look;
            known.last = look;
            if look == known.loaded || !settled {
                continue;
            }
            // Set before loading, so that a file that fails to load is not tried again.
            known.loaded = look;
            for function in &names {
                reload(runtime, function, &path);
            }
        }
    }
}

/// Returns the names of the functions that were loaded from each file.
fn functions_by_file(runtime: &Functions, dir: &Path) -> BTreeMap<PathBuf, Vec<String>> {
    let mut files: BTreeMap<PathBuf, Vec<String>> = BTreeMap::new();
    for function in runtime.functions() {
        let record = function.record();
        if let Some(file) = record.file.as_deref() {
            let names = files.entry(dir.join(file)).or_default();
            names.push(record.name.as_str().to_owned());
        }
    }
    files
}

fn reload(runtime: &Functions, function: &str, path: &Path) {
    match runtime.reload_file(function.as_bytes()) {
        Ok(Some(digest)) => {
            tracing::info!(function, %digest, file = %path.display(), "reloaded");
        }
        Ok(None) => tracing::debug!(function, file = %path.display(), "as it was"),
        Err(error) => {
            tracing::warn!(function, file = %path.display(), %error, "not reloaded");
        }
    }
}

fn stamp(path: &Path) -> Option<FileStamp> {
    // Reading the file checks that the path does not lead out of the folder.
    let metadata = path.metadata().ok().filter(std::fs::Metadata::is_file)?;
    Some(FileStamp {
        modified: metadata.modified().ok(),
        bytes: metadata.len(),
    })
}
