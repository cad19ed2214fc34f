//! The result of a compilation.

use std::time::Duration;

use ferrite_cache::{CompiledModule, Digest, Manifest, ManifestError, ModuleInfo, Profile};

use crate::preinit::Preinit;

/// A compiled module, ready to be published into a cache.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// The binary module; its digest identifies the source.
    pub wasm: Vec<u8>,
    /// The native code, in wasmtime's own format.
    pub artifact: Vec<u8>,
    /// Describes the module and the native code.
    pub manifest: Manifest,
    /// The result of pre-initialisation.
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

/// Builds the manifest of an artifact; fails if the cache could not store it.
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
