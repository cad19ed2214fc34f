//! Opens files below a folder, and only there.

use std::fs::File;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path};

use super::SourceError;
use crate::platform::{find, open_found, real_path};

/// Longest path, in bytes.
const PATH_BYTES_MAX: usize = 4096;

/// Opens a file below `module_dir`; follows links only if they stay below it.
pub(crate) fn open_below(module_dir: &Path, path: &Path) -> Result<File, SourceError> {
    let bytes = path.as_os_str().as_bytes();
    if bytes.len() > PATH_BYTES_MAX {
        return Err(SourceError::Path {
            path: path.into(),
            problem: "too long for a path",
        });
    }
    if bytes.contains(&0) {
        return Err(SourceError::Path {
            path: path.into(),
            problem: "no path: it has a zero byte",
        });
    }
    if path
        .components()
        .any(|component| component == Component::ParentDir)
    {
        return Err(SourceError::Outside {
            path: path.into(),
            how: " by \"..\"",
        });
    }
    let unusable = |problem| SourceError::ModuleDir {
        module_dir: module_dir.into(),
        problem,
    };
    let root = find(module_dir)
        .and_then(|folder| real_path(&folder))
        .map_err(unusable)?;
    // An absolute path may name the folder as configured or by its real path.
    let relative = if path.is_absolute() {
        path.strip_prefix(&root)
            .or_else(|_| path.strip_prefix(module_dir))
            .map_err(|_| SourceError::Outside {
                path: path.into(),
                how: "",
            })?
    } else {
        path
    };
    let unreadable = |problem| SourceError::Read {
        path: path.into(),
        module_dir: module_dir.into(),
        problem,
    };
    // The file found is checked and then opened by its descriptor: a folder on the way that becomes
    // a link meanwhile changes nothing.
    let found = find(&root.join(relative)).map_err(unreadable)?;
    if !real_path(&found).map_err(unreadable)?.starts_with(&root) {
        return Err(SourceError::Outside {
            path: path.into(),
            how: " through a link",
        });
    }
    open_found(&found).map_err(unreadable)
}
