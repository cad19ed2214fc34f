//! Makes functions of programs in JavaScript without a compiler.
//!
//! The compiler has put the engine into the cache before: its native code, which all programs share, and the
//! [image](ferrite_cache::Image) of an engine that has evaluated nothing. To make a function of a program is to run its
//! top level on that engine, within limits, and to take the image that this leaves. It is the same image, byte for
//! byte, as the compiler's.

mod instance;
mod provide;
#[cfg(test)]
mod tests;

use std::os::unix::fs::FileExt as _;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use ferrite_cache::javascript::{EngineInstance as _, Exports, ProgramError};
use ferrite_cache::{
    AUTOMATION_SECTION, Automation, CompiledModule, Digest, EntryInfo, EntryKind, ExportInfo,
    ExportKind, ImageInfo, ImagePages, JavaScript, Manifest, ModuleInfo, Signature,
    VerifiedArtifact,
};
use ferrite_protocol::error_chain::ErrorChain;
use wasmtime::Engine;

use self::instance::{EngineError, NativeInstance};
use crate::error::{CallError, Code};

/// Evaluates programs, one at a time on each thread. Every method blocks.
#[derive(Default)]
pub(super) struct Evaluator {
    /// Runs the engine's code. Its memories are wasmtime's own: they live for one evaluation.
    engine: OnceLock<Engine>,
}

impl Evaluator {
    /// Evaluates an encoded program on the engine that `base` is; the result is as the compiler's.
    ///
    /// # Errors
    ///
    /// The program's error with its position, or the limit that it reached.
    pub(super) fn evaluate(
        &self,
        encoded: &[u8],
        base: &VerifiedArtifact,
        time_max: Duration,
    ) -> Result<CompiledModule, CallError> {
        let started = Instant::now();
        let program = JavaScript::decode(encoded).map_err(ProgramError::from)?;
        program.check()?;
        let mut instance = NativeInstance::new(self.engine(base)?, base, time_max)?;
        let exports = program.evaluate(&mut instance)?;
        let manifest = base.manifest();
        let Some(engine) = &manifest.image else {
            return Err(EngineError::Unfit("has no image").into());
        };
        let memory_pages = instance.memory_pages();
        let globals = instance.globals()?;
        let entries = (0..exports.names.len() as u32).collect();
        let pages = ImagePages::of(&[(0, instance.memory())], memory_pages);
        let before = Some(instance.base());
        let made = pages.map(|pages| {
            let ImageInfo { engine, back, .. } = *engine;
            pages.image(engine, before, memory_pages, globals, back, entries)
        });
        let (info, image) = made
            .transpose()
            .map_err(EngineError::from)?
            .flatten()
            .ok_or_else(|| {
                CallError::limit("the program's memory has too many zeros between its data")
            })?;
        let mut native = vec![0; usize::try_from(manifest.artifact_len).unwrap_or_default()];
        base.file()
            .read_exact_at(&mut native, 0)
            .map_err(EngineError::from)?;
        let manifest = Manifest {
            source: Digest::of(encoded),
            source_len: encoded.len() as u64,
            module: describe(&manifest.module, exports, memory_pages)?,
            compile_micros: u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX),
            image: Some(info),
            ..manifest.clone()
        };
        // The manifest must fit into the cache.
        manifest.encode().map_err(|error| {
            CallError::limit(format!(
                "the program has too many or too long names: {error}"
            ))
        })?;
        Ok(CompiledModule {
            source: encoded.to_vec(),
            manifest,
            artifact: native,
            image: Some(image),
        })
    }

    /// Returns the engine, which loads the code of any profile that this machine runs.
    fn engine(&self, base: &VerifiedArtifact) -> Result<&Engine, EngineError> {
        if let Some(engine) = self.engine.get() {
            return Ok(engine);
        }
        let engine = Engine::new(&base.manifest().profile.config())?;
        Ok(self.engine.get_or_init(|| engine))
    }
}

/// Describes the module that the engine is after an evaluation.
fn describe(
    engine: &ModuleInfo,
    exports: Exports,
    memory_pages: u32,
) -> Result<ModuleInfo, CallError> {
    let Exports { names, automation } = exports;
    let mut module = engine.clone();
    if let Some(memory) = &mut module.memory {
        memory.min_pages = u64::from(memory_pages);
    }
    let exported = names.iter().map(|name| ExportInfo {
        name: name.clone(),
        kind: ExportKind::Function(Signature::default()),
    });
    module.exports.extend(exported);
    module.entries = names
        .into_iter()
        .map(|name| EntryInfo {
            name,
            kind: EntryKind::Command,
            signature: Signature::default(),
        })
        .collect();
    let declared = |error: &dyn std::fmt::Display| {
        CallError::invalid(format!("custom section {AUTOMATION_SECTION}: {error}"))
    };
    if !automation.is_empty() {
        module.automation =
            Automation::read(automation.as_bytes()).map_err(|error| declared(&error))?;
        module
            .automation
            .check_entries(module.entries.iter().map(|entry| entry.name.as_str()))
            .map_err(|error| declared(&error))?;
    }
    Ok(module)
}

impl From<ProgramError> for CallError {
    fn from(error: ProgramError) -> Self {
        let code = match error.code() {
            "LIMIT" => Code::Limit,
            "INVALID" => Code::Invalid,
            _ => Code::NoArtifact,
        };
        Self::new(code, error.to_string())
    }
}

impl From<EngineError> for CallError {
    fn from(error: EngineError) -> Self {
        Self::new(Code::NoArtifact, ErrorChain(&error).to_string())
    }
}
