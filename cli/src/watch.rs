//! Waits for files to change.
//!
//! Files are looked at every so often rather than waited for: looking works on every file system,
//! and on folders that a container shares with its host, where notifications do not arrive.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// How often files are looked at.
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// Folders whose contents tools write, and are no sources.
const NOT_SOURCES: &[&str] = &["build", "cache", "node_modules", "target"];

/// Folders inside one another that are looked into.
const DEPTH_MAX: usize = 16;

/// Files that are looked at at most; a folder with more is no project.
const FILES_MAX: usize = 20_000;

/// What a file looked like.
type FileState = (Option<SystemTime>, u64);

/// Files and folders, and what they looked like.
pub(crate) struct Watch {
    paths: Vec<PathBuf>,
    seen: BTreeMap<PathBuf, FileState>,
}

impl Watch {
    /// Looks at files, and at all sources below folders.
    pub(crate) fn new(paths: Vec<PathBuf>) -> Self {
        let seen = snapshot(&paths);
        Self { paths, seen }
    }

    /// Waits until something has changed, and is not changing any more.
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
    // What cannot be read now is not there, and may be there next time.
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
        let name = entry.file_name();
        let hidden = name.to_string_lossy().starts_with('.');
        if !hidden && !NOT_SOURCES.iter().any(|folder| name == **folder) {
            add_files(&entry.path(), depth - 1, seen);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Watch;

    /// Writes are seen however they fall between the looks.
    #[test]
    fn a_change_below_a_folder_ends_the_wait() {
        let folder = tempfile::tempdir().expect("there is room for a folder");
        let source = folder.path().join("src/deep.c");
        std::fs::create_dir_all(source.parent().expect("it is in a folder")).expect("room");
        std::fs::create_dir(folder.path().join("build")).expect("room");
        std::fs::write(&source, "1").expect("room");
        let mut watch = Watch::new(vec![folder.path().to_owned()]);
        // What tools write is no change, and the longer text is one.
        std::fs::write(folder.path().join("build/out.wasm"), "made").expect("room");
        let before = watch.seen.clone();
        std::fs::write(&source, "22").expect("room");
        watch.wait();
        assert_eq!(before.len(), 1);
        assert_eq!(watch.seen.keys().collect::<Vec<_>>(), [&source]);
        assert_eq!(watch.seen[&source].1, 2);
    }
}
