//! Waits for files to change.
//!
//! Polls instead of waiting for notifications: polling works on every file system, and on folders
//! that a container shares with its host, where notifications do not arrive.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Time between two polls.
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// Folders that hold output of tools, not sources.
const NOT_SOURCES: &[&str] = &["__pycache__", "build", "cache", "node_modules", "target"];

/// Below a folder `data` that is a server's: its store. A server that runs in a project's folder writes there.
const STORE: &str = "store/v1";

/// Deepest nesting of folders that is watched.
const DEPTH_MAX: usize = 16;

/// Most files that are watched; a folder with more is no project.
const FILES_MAX: usize = 20_000;

/// A file's modification time and its length in bytes.
type FileState = (Option<SystemTime>, u64);

/// Files and folders to watch, and their state when a change was last reported.
pub(crate) struct Watch {
    paths: Vec<PathBuf>,
    seen: BTreeMap<PathBuf, FileState>,
}

impl Watch {
    /// Starts to watch files, and all sources below folders. Changes from now on count.
    pub(crate) fn new(paths: Vec<PathBuf>) -> Self {
        let seen = snapshot(&paths);
        Self { paths, seen }
    }

    /// Blocks until a file has changed and has then stayed the same for one poll.
    pub(crate) fn wait(&mut self) {
        let mut last = snapshot(&self.paths);
        loop {
            std::thread::sleep(POLL_INTERVAL);
            let now = snapshot(&self.paths);
            if now == last && now != self.seen {
                self.seen = now;
                return;
            }
            last = now;
        }
    }
}

fn snapshot(paths: &[PathBuf]) -> BTreeMap<PathBuf, FileState> {
    let mut seen = BTreeMap::new();
    for path in paths {
        add_files(path, DEPTH_MAX, &mut seen);
    }
    seen
}

fn add_files(path: &Path, depth: usize, seen: &mut BTreeMap<PathBuf, FileState>) {
    // A file that cannot be read counts as missing; it may be readable at the next poll.
    let Ok(metadata) = path.metadata() else {
        return;
    };
    if seen.len() >= FILES_MAX {
        return;
    }
    if !metadata.is_dir() {
        seen.insert(path.to_owned(), (metadata.modified().ok(), metadata.len()));
        return;
    }
    if depth == 0 {
        return;
    }
    for entry in path.read_dir().into_iter().flatten().flatten() {
        if is_source(&entry.path()) {
            add_files(&entry.path(), depth - 1, seen);
        }
    }
}

/// Returns false for hidden files, logs, and folders with output of tools or with the data of a server.
fn is_source(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let is_output = NOT_SOURCES.contains(&&*name) || name.ends_with(".log");
    let is_data = name == "data" && path.join(STORE).is_dir();
    !(name.starts_with('.') || is_output || is_data)
}

#[cfg(test)]
mod tests {
    use super::Watch;

    /// A write is noticed whenever it falls between two polls.
    #[test]
    fn a_change_below_a_folder_ends_the_wait() {
        let folder = tempfile::tempdir().expect("there is room for a folder");
        let source = folder.path().join("src/deep.c");
        std::fs::create_dir_all(source.parent().expect("it is in a folder")).expect("room");
        for other in ["build", "data/store/v1"] {
            std::fs::create_dir_all(folder.path().join(other)).expect("room");
        }
        std::fs::write(&source, "1").expect("room");
        let mut watch = Watch::new(vec![folder.path().to_owned()]);
        // A file in a folder of tools or of a server is no change; a longer source is one.
        for other in ["build/out.wasm", "data/store/v1/journal", "server.log"] {
            std::fs::write(folder.path().join(other), "made").expect("room");
        }
        let before = watch.seen.clone();
        std::fs::write(&source, "22").expect("room");
        watch.wait();
        assert_eq!(before.len(), 1);
        assert_eq!(watch.seen.keys().collect::<Vec<_>>(), [&source]);
        assert_eq!(watch.seen[&source].1, 2);
    }
}
