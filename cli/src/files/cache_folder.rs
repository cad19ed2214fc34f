//! Which cache a command works on.

use std::path::PathBuf;

use anyhow::Result;
use ferrite_cache::{Cache, CacheOptions};

/// Bytes that a cache may take up before `cache gc` makes room, unless another size is named.
///
/// Only `cache gc` removes anything here; a server has a setting of its own.
pub(crate) const SIZE_BYTES_MAX: u64 = 1 << 30;

/// The option that names the cache.
#[derive(Debug, clap::Args)]
pub(crate) struct CacheFolder {
    /// Folder of the cache; it is made when it is not there
    #[arg(
        long = "cache",
        value_name = "DIR",
        env = "FERRITE_CACHE_DIR",
        hide_env_values = true,
        default_value = "cache/wasm"
    )]
    pub(crate) path: PathBuf,
}

impl CacheFolder {
    /// Opens the cache.
    pub(crate) fn open(&self) -> Result<Cache> {
        self.open_with(SIZE_BYTES_MAX)
    }

    /// Opens the cache with another bound on its size.
    pub(crate) fn open_with(&self, size_bytes_max: u64) -> Result<Cache> {
        Ok(Cache::open(CacheOptions {
            root: self.path.clone(),
            size_bytes_max,
        })?)
    }

    /// Opens the cache if it is there, and does not make it.
    pub(crate) fn open_existing(&self) -> Result<Option<Cache>> {
        match self.path.symlink_metadata() {
            Ok(_) => self.open().map(Some),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(anyhow::Error::new(error).context(format!(
                "cannot look at the cache in {}",
                self.path.display()
            ))),
        }
    }
}
