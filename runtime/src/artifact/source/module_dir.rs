//! Opens files below a folder, and only there.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use super::SourceError;

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
    OpenOptions::new()
        .read(true)
        // Without this flag, opening a named pipe would wait for a writer.
        .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
        .open(by_descriptor(&found))
        .map_err(unreadable)
}

/// Finds the file at a path, without opening it to read.
fn find(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?)
}

/// Returns the path, free of links, of the file found.
///
/// Does not use `Path::canonicalize`: in a program that has its own allocator and loads this code
/// with its symbols bound to the C library's, it would free with one allocator the memory of the
/// other, and the program would crash.
fn real_path(found: &OwnedFd) -> io::Result<PathBuf> {
    let path = rustix::fs::readlink(by_descriptor(found), Vec::new())?;
    Ok(PathBuf::from(OsString::from_vec(path.into_bytes())))
}

fn by_descriptor(found: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", found.as_raw_fd())
}
