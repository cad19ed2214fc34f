//! Opens files below a folder and nowhere else.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use super::SourceError;

/// Longest path taken, in bytes.
const PATH_BYTES_MAX: usize = 4096;

/// Opens a file below `module_dir`, through links only as far as they stay there.
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
    let unreadable = |problem| SourceError::Read {
        path: path.into(),
        problem,
    };
    // What was found is looked at and then opened by its descriptor, so that a folder on the way
    // that becomes a link meanwhile changes nothing.
    let found = find(&root.join(relative)).map_err(unreadable)?;
    if !real_path(&found).map_err(unreadable)?.starts_with(&root) {
        return Err(SourceError::Outside {
            path: path.into(),
            how: " through a link",
        });
    }
    OpenOptions::new()
        .read(true)
        // Without it, opening a named pipe would wait for somebody to write.
        .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
        .open(by_descriptor(&found))
        .map_err(unreadable)
}

/// Finds what a path leads to, without opening it to read.
fn find(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?)
}

/// The path, free of links, of what was found.
///
/// `Path::canonicalize` would do, were it not for programs that bring an allocator of their own and
/// load this code with its symbols bound to the C library's: it frees with one what the other has
/// allocated, and the program ends.
fn real_path(found: &OwnedFd) -> io::Result<PathBuf> {
    let path = rustix::fs::readlink(by_descriptor(found), Vec::new())?;
    Ok(PathBuf::from(OsString::from_vec(path.into_bytes())))
}

fn by_descriptor(found: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", found.as_raw_fd())
}
