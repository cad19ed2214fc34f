//! Files that commands read and write: sources, bundles, the cache folder.

pub(crate) mod atomic_file;
pub(crate) mod bounded_file;
pub(crate) mod bundle_file;
pub(crate) mod cache_folder;
pub(crate) mod source_file;
pub(crate) mod source_map;
