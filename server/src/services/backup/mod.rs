//! Backups while the server runs, and how they come back.
//!
//! A backup is a folder below `store.backup_dir`, named after its time. It has the layout of
//! `server.dir` with the default paths: `data/store`, `data/functions.json` and the sources of the
//! functions in `cache/wasm`. `backup.json` is written last and says what is in it.

pub(crate) mod create;
pub(crate) mod restore;

use std::io;
use std::path::{Path, PathBuf};

/// The file that says what is in a backup.
const MANIFEST: &str = "backup.json";

/// Version of the layout.
const VERSION: u64 = 1;

/// Reason why a backup could not be made or brought back.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// One is being made already.
    #[error("Background save already in progress")]
    Busy,
    /// The data could not be copied.
    #[error(transparent)]
    Data(#[from] ferrite_store::BackupError),
    /// The data of a backup cannot be opened.
    #[error("the data of the backup cannot be opened")]
    Open(#[from] ferrite_store::OpenError),
    /// A file cannot be read or written.
    #[error("{} cannot be {action}", path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// The action that failed, as a participle.
        action: &'static str,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// A folder is no backup, or one of another version.
    #[error("{} is no backup of this version: {problem}", path.display())]
    NoBackup {
        /// The folder.
        path: PathBuf,
        /// The fault.
        problem: String,
    },
    /// There is data where the backup would go.
    #[error("{} exists already; a backup is brought back only where nothing is: move it away, or choose another --dir", path.display())]
    Occupied {
        /// The file or folder.
        path: PathBuf,
    },
    /// The cache does not have a function's source, or cannot take it.
    #[error("the source {digest} of function {function} cannot be {action}: {problem}")]
    Source {
        /// The digest.
        digest: String,
        /// The function.
        function: String,
        /// The action that failed, as a participle.
        action: &'static str,
        /// Why.
        problem: String,
    },
}

fn at<T>(path: &Path, action: &'static str, result: io::Result<T>) -> Result<T, BackupError> {
    result.map_err(|source| BackupError::File {
        path: path.to_owned(),
        action,
        source,
    })
}

/// Paths below the folder of a backup.
struct Layout {
    data: PathBuf,
    registry: PathBuf,
    cache: PathBuf,
    manifest: PathBuf,
}

impl Layout {
    fn of(folder: &Path) -> Self {
        Self {
            data: folder.join("data/store"),
            registry: folder.join("data/functions.json"),
            cache: folder.join("cache/wasm"),
            manifest: folder.join(MANIFEST),
        }
    }
}
