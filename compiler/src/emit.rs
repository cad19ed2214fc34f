//! What a compilation leaves behind.

use std::time::Duration;

use ferrite_cache::{CompiledModule, Digest, Manifest, ManifestError, ModuleInfo, Profile};

use crate::preinit::Preinit;

/// A module that was compiled, ready to be published into a cache.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// The binary module; its digest is the source's identity.
    pub wasm: Vec<u8>,
    /// The native code, in wasmtime's own format.
    pub artifact: Vec<u8>,
    /// What is known about both.
    pub manifest: Manifest,
    /// Whether the module's start has run already.
    pub preinit: Preinit,
}

impl From<Compiled> for CompiledModule {
    fn from(compiled: Compiled) -> Self {
        let Compiled {
            wasm,
            artifact,
            manifest,
            // The manifest says if a start is left to run.
            preinit: _,
        } = compiled;
        Self {
            source: wasm,
            manifest,
            artifact,
        }
    }
}

/// Describes an artifact; refuses one whose manifest the cache could not store.
pub(crate) fn emit(
    profile: Profile,
    wasm: Vec<u8>,
    module: ModuleInfo,
    artifact: Vec<u8>,
    took: Duration,
    preinit: Preinit,
) -> Result<Compiled, ManifestError> {
    let manifest = Manifest {
        source: Digest::of(&wasm),
        source_len: wasm.len() as u64,
        artifact: Digest::of(&artifact),
        artifact_len: artifact.len() as u64,
        profile,
        module,
        compile_micros: u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
        signed_by: None,
    };
    manifest.encode()?;
    Ok(Compiled {
        wasm,
        artifact,
        manifest,
        preinit,
    })
}
