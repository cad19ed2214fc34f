//! The result of a compilation.

use std::time::Duration;

use ferrite_cache::{
    ArtifactBytes, CompiledModule, Digest, ImageInfo, KnownEngine, Manifest, ManifestError,
    ModuleInfo, Profile,
};

use crate::preinit::Preinit;

/// A compiled module, ready to be published into a cache.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// The binary module, or the encoded program in JavaScript; its digest identifies the source.
    pub wasm: Vec<u8>,
    /// The native code, in wasmtime's own format. Empty if it is that of an engine which the caller
    /// [knows](crate::Compiler::compile_unless_known).
    pub artifact: Vec<u8>,
    /// The image, if the native code is an engine's.
    pub image: Option<Vec<u8>>,
    /// Describes the module and the native code.
    pub manifest: Manifest,
    /// The result of pre-initialisation.
    pub preinit: Preinit,
}

impl Compiled {
    /// Returns the native code with its image.
    #[must_use]
    pub fn code(&self) -> ArtifactBytes<'_> {
        ArtifactBytes {
            native: &self.artifact,
            image: self.image.as_deref(),
        }
    }
}

impl From<Compiled> for CompiledModule {
    fn from(compiled: Compiled) -> Self {
        let Compiled {
            wasm,
            artifact,
            image,
            manifest,
            // The manifest says if a start is left to run.
            preinit: _,
        } = compiled;
        Self {
            source: wasm,
            manifest,
            artifact,
            image,
        }
    }
}

/// The native code of a module or engine.
pub(crate) enum NativeCode {
    /// It was compiled.
    New(Vec<u8>),
    /// The caller has it.
    Known(KnownEngine),
}

/// Builds the manifest of an artifact; fails if the cache could not store it.
pub(crate) fn emit(
    profile: Profile,
    wasm: Vec<u8>,
    module: ModuleInfo,
    native: NativeCode,
    image: Option<(ImageInfo, Vec<u8>)>,
    took: Duration,
    preinit: Preinit,
) -> Result<Compiled, ManifestError> {
    let (digest, len, artifact) = match native {
        NativeCode::New(bytes) => (Digest::of(&bytes), bytes.len() as u64, bytes),
        NativeCode::Known(KnownEngine {
            engine: _,
            native,
            native_len,
        }) => (native, native_len, Vec::new()),
    };
    let (info, image) = image.unzip();
    let manifest = Manifest {
        source: Digest::of(&wasm),
        source_len: wasm.len() as u64,
        artifact: digest,
        artifact_len: len,
        profile,
        module,
        compile_micros: u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
        signed_by: None,
        image: info,
    };
    manifest.encode()?;
    Ok(Compiled {
        wasm,
        artifact,
        image,
        manifest,
        preinit,
    })
}
