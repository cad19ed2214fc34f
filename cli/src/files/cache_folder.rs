//! The option `--cache`, and opening the cache it names.

use std::path::PathBuf;

use anyhow::Result;
use ferrite_cache::{Cache, CacheOptions};

/// Default size limit of a cache, in bytes. Only `cache gc` applies it; a server has a setting of
/// its own.
pub(crate) const SIZE_BYTES_MAX: u64 = 1 << 30;

/// The option that names the cache.
#[derive(Debug, clap::Args)]
pub(crate) struct CacheFolder {
    /// Folder of the cache; created if missing
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

    /// Opens the cache with another size limit.
    pub(crate) fn open_with(&self, size_bytes_max: u64) -> Result<Cache> {
        Ok(Cache::open(CacheOptions {
            root: self.path.clone(),
            size_bytes_max,
        })?)
    }

    /// Opens the cache if it exists; does not create it.
    pub(crate) fn open_existing(&self) -> Result<Option<Cache>> {
        match self.path.symlink_metadata() {
            Ok(_) => self.open().map(Some),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(anyhow::Error::new(error).context(format!(
                "cannot access the cache in {}",
                self.path.display()
            ))),
        }
    }
}
