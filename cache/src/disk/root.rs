//! The cache's root directory. Every operation opens and checks it again.

use std::fmt;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::CWD;

use super::error::StorageError;
use super::files::private::{make_directory, open_directory};
use super::layout::{Directory, FORMAT};
use crate::disk::files::seen::SeenFiles;
use crate::disk::step::{Observer, Step};

/// The cache's root directory.
///
/// It keeps no descriptor: a cache that is deleted while it is in use is empty from then on, and one
/// whose directory becomes open to others is refused.
#[derive(Clone)]
pub(super) struct Root {
    path: PathBuf,
    observer: Option<Observer>,
    seen: Arc<SeenFiles>,
}

impl Root {
    pub(super) fn new(path: PathBuf, observer: Option<Observer>) -> Self {
        Self {
            path,
            observer,
            seen: Arc::default(),
        }
    }

    /// Returns the files of engines whose bytes this process has checked.
    pub(super) fn seen(&self) -> &SeenFiles {
        &self.seen
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Calls the test's observer after a step.
    pub(super) fn reached(&self, step: Step) {
        if let Some(observer) = &self.observer {
            observer(step);
        }
    }

    /// Opens the root; `None` if it does not exist.
    pub(super) fn open(&self) -> Result<Option<OwnedFd>, StorageError> {
        open_directory(CWD, &self.path, &self.path)
    }

    /// Opens the root; creates it and its parents if it does not exist.
    pub(super) fn make(&self) -> Result<OwnedFd, StorageError> {
        if let Some(root) = self.open()? {
            return Ok(root);
        }
        if let Some(parent) = self
            .path
            .parent()
            .filter(|path| !path.as_os_str().is_empty())
        {
            std::fs::create_dir_all(parent)
                .map_err(|error| StorageError::writing("create", parent, error))?;
        }
        make_directory(CWD, &self.path, &self.path)
    }

    /// Opens the directory of this format; `None` if it does not exist.
    pub(super) fn open_format(&self) -> Result<Option<OwnedFd>, StorageError> {
        let Some(root) = self.open()? else {
            return Ok(None);
        };
        open_directory(root, FORMAT.as_ref(), &self.path.join(FORMAT))
    }

    /// Opens a directory of the cache; `None` if it does not exist.
    pub(super) fn open_directory(&self, place: Directory) -> Result<Option<OwnedFd>, StorageError> {
        let Some(format) = self.open_format()? else {
            return Ok(None);
        };
        open_directory(format, place.name().as_ref(), &place.path(&self.path))
    }

    /// Opens a directory of the cache; creates it if it does not exist.
    pub(super) fn make_directory(&self, place: Directory) -> Result<OwnedFd, StorageError> {
        let root = self.make()?;
        let format = make_directory(root, FORMAT.as_ref(), &self.path.join(FORMAT))?;
        make_directory(format, place.name().as_ref(), &place.path(&self.path))
    }
}

impl fmt::Debug for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Root").field(&self.path).finish()
    }
}
