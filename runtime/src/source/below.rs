//! Opens files below a folder and nowhere else.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::os::fd::AsRawFd as _;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Component, Path};

use super::SourceError;

/// Longest path taken, in bytes.
const PATH_BYTES_MAX: usize = 4096;

/// Opens a file below `module_dir`, through links only as far as they stay there.
pub(super) fn open_below(module_dir: &Path, path: &Path) -> Result<File, SourceError> {
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
    let root = module_dir.canonicalize().map_err(unusable)?;
    // An absolute path may name the folder as it is configured or as it is.
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
    let outside = || SourceError::Outside {
        path: path.into(),
        how: " through a link",
    };
    let unreadable = |problem| SourceError::Read {
        path: path.into(),
        problem,
    };
    let real = root.join(relative).canonicalize().map_err(unreadable)?;
    if !real.starts_with(&root) {
        return Err(outside());
    }
    let file = OpenOptions::new()
        .read(true)
        // Without `NONBLOCK`, opening a named pipe would wait for somebody to write.
        .custom_flags(
            (rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK)
                .bits()
                .cast_signed(),
        )
        .open(&real)
        .map_err(unreadable)?;
    // A folder on the way may have become a link since: what counts is what was opened.
    let opened = rustix::fs::readlink(format!("/proc/self/fd/{}", file.as_raw_fd()), Vec::new())
        .map_err(|error| unreadable(error.into()))?;
    if !Path::new(OsStr::from_bytes(opened.as_bytes())).starts_with(&root) {
        return Err(outside());
    }
    Ok(file)
}
