//! Files that commands read and write: sources, bundles, the cache folder.

pub(crate) mod bundle_file;
pub(crate) mod cache_folder;
pub(crate) mod source;
pub(crate) mod whole_file;
