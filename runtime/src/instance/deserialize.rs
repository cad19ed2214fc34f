//! Turns a verified artifact into a module: the one place where bytes become code.

#![allow(
    unsafe_code,
    reason = "an artifact is native code; only its verification makes it safe to map"
)]

use ferrite_cache::VerifiedArtifact;
use wasmtime::{Engine, Module};

/// Reason why a verified artifact cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadModuleError {
    /// The artifact's descriptor cannot be shared.
    #[error(
        "the artifact's file cannot be opened a second time; raise the limit on open files (ulimit -n)"
    )]
    Descriptor(#[source] std::io::Error),
    /// wasmtime refuses it: another version, another CPU, larger than the engine's limits.
    #[error("the artifact does not fit this engine: {reason}")]
    Refused {
        /// Wasmtime's error, from the outermost to the innermost cause.
        reason: Box<str>,
    },
}

/// Maps an artifact's code into the process.
///
/// Costs some ten microseconds; the pages come in as they are used. A module keeps its mapping
/// and lives as long as its clones and their instances.
///
/// # Errors
///
/// Fails if wasmtime finds the artifact to be for another engine or CPU, or too large for the
/// limits of this one.
pub(crate) fn load(
    engine: &Engine,
    artifact: &VerifiedArtifact,
) -> Result<Module, LoadModuleError> {
    let file = artifact
        .file()
        .try_clone()
        .map_err(LoadModuleError::Descriptor)?;
    // SAFETY: `deserialize_open_file` needs two things. First, the bytes must be what wasmtime's
    // compiler emitted, unchanged: a `VerifiedArtifact` is made only by the cache, after the
    // blake3 digest of the bytes behind this very descriptor was found equal to the digest of
    // what our compiler published. (Behind the code of an engine may stand its base, which wasmtime does
    // not read: an ELF file ends where its own headers say.) Second, the file must not change while the module lives: the
    // cache's directory belongs to our user alone and its files are never rewritten, only
    // unlinked, which leaves the mapped inode alone; an artifact in memory is sealed against
    // writing.
    let module = unsafe { Module::deserialize_open_file(engine, file) };
    module.map_err(|error| LoadModuleError::Refused {
        reason: format!("{error:#}").into(),
    })
}
