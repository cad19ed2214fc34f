//! Finds the native code of a module in the cache, or compiles it into the cache.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::OnceLock;

use anyhow::{Result, anyhow, bail};
use ferrite_cache::{Cache, Digest, Manifest, Profile, VerifiedArtifact};
use ferrite_compiler::preinit;
use ferrite_compiler::{Bounds, CompileError, Compiled, Compiler, Preinit, PreinitChoice};

use crate::files::bounded_file::TooLarge;
use crate::terminal::units::Bytes;

/// Finds or compiles modules for one profile. Several threads may share it.
pub(crate) struct Precompiler {
    profile: Profile,
    bounds: Bounds,
    /// Number of compiling threads, shared by all modules.
    jobs: NonZeroUsize,
    preinit: PreinitChoice,
    cache: Option<Cache>,
    /// Created for the first module that is not in the cache.
    pool: OnceLock<Result<CompilerPool, String>>,
}

/// A compiler and the threads it runs on.
struct CompilerPool {
    compiler: Compiler,
    threads: rayon::ThreadPool,
}

/// The native code of a module, from the cache or just compiled.
pub(crate) struct NativeCode {
    pub(crate) manifest: Manifest,
    pub(crate) artifact: VerifiedArtifact,
    /// Path of the artifact in the cache; none if the cache does not hold it.
    pub(crate) path: Option<PathBuf>,
    /// True if the cache held the code before this run.
    pub(crate) cached: bool,
    /// True if the module's start was run at compile time, so that no instance runs it.
    pub(crate) preinitialised: bool,
}

/// The options that choose which modules are pre-initialised.
#[derive(Debug, clap::Args)]
pub(crate) struct PreinitOptions {
    /// Run the module's start once, at compile time, instead of in every new instance. Default:
    /// only for modules whose SDK asks for it, such as Go's
    #[arg(long, conflicts_with = "no_preinit")]
    preinit: bool,

    /// Run the module's start in every new instance, even if its SDK asks for pre-initialisation
    #[arg(long)]
    no_preinit: bool,
}

impl PreinitOptions {
    pub(crate) fn choice(&self) -> PreinitChoice {
        match (self.preinit, self.no_preinit) {
            (true, _) => PreinitChoice::Always,
            (false, true) => PreinitChoice::Never,
            (false, false) => PreinitChoice::Marked,
        }
    }
}

/// What to do when compiled code cannot be stored in the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnCacheFailure {
    /// Return an error.
    Fail,
    /// Use the code from memory, and warn.
    Warn,
}

/// Returns the code of an error in a module, `INVALID`, `LIMIT` or `INTERNAL`; nothing for other
/// errors.
pub(crate) fn error_code(error: &anyhow::Error) -> Option<&'static str> {
    if error.is::<TooLarge>() {
        Some("LIMIT")
    } else {
        error.downcast_ref::<CompileError>().map(CompileError::code)
    }
}

impl NativeCode {
    /// Returns true if every new instance still has to run a start function.
    fn has_start(&self) -> bool {
        let module = &self.manifest.module;
        module.start || module.initialize
    }
}

impl Precompiler {
    pub(crate) fn new(profile: Profile, jobs: NonZeroUsize, cache: Option<Cache>) -> Self {
        Self {
            profile,
            bounds: Bounds::default(),
            jobs,
            preinit: PreinitChoice::default(),
            cache,
            pool: OnceLock::new(),
        }
    }

    /// Sets which modules are pre-initialised. Default: those that ask for it.
    pub(crate) fn with_preinit(mut self, choice: PreinitChoice) -> Self {
        self.preinit = choice;
        self
    }

    /// The bounds on the modules that are compiled.
    pub(crate) fn bounds(&self) -> &Bounds {
        &self.bounds
    }

    /// Finds the native code of a source, binary or text, or compiles it.
    ///
    /// `note` receives progress messages, which call the source `name`.
    pub(crate) fn find_or_compile(
        &self,
        name: &str,
        source: &[u8],
        on_cache_failure: OnCacheFailure,
        note: &dyn Fn(String),
    ) -> Result<NativeCode> {
        let wasm = ferrite_compiler::to_wasm(source, &self.bounds).map_err(CompileError::from)?;
        let mut found = self.find_or_compile_binary(name, &wasm, on_cache_failure, note)?;
        found.preinitialised = preinit::has_start(&wasm) && !found.has_start();
        Ok(found)
    }

    fn find_or_compile_binary(
        &self,
        name: &str,
        wasm: &[u8],
        on_cache_failure: OnCacheFailure,
        note: &dyn Fn(String),
    ) -> Result<NativeCode> {
        let digest = Digest::of(wasm);
        if let Some(found) = self
            .find(&digest)?
            .filter(|found| self.start_matches_choice(wasm, found))
        {
            self.keep_source(wasm, &digest, note);
            return Ok(found);
        }
        // Waits while another process compiles the same module; the code is then in the cache.
        let _lock = match &self.cache {
            Some(cache) => Some(cache.lock(&digest, &self.profile)?),
            None => None,
        };
        let other = match self.find(&digest)? {
            Some(found) if self.start_matches_choice(wasm, &found) => return Ok(found),
            other => other,
        };
        note(format!("compiling {name} ({})", Bytes(wasm.len() as u64)));
        let compiled = self.pool()?.compile(wasm)?;
        match (&compiled.preinit, self.preinit) {
            (Preinit::Refused { reason }, PreinitChoice::Always) => {
                bail!("it cannot be pre-initialised: {reason}")
            }
            (Preinit::Refused { reason }, _) => {
                note(format!("{name} is not pre-initialised: {reason}"));
            }
            (Preinit::Done | Preinit::NotAsked, _) => {}
        }
        if let (Some(cache), Some(_)) = (&self.cache, other) {
            cache.discard(&digest, &self.profile)?;
        }
        match self.publish(&compiled) {
            Ok(Some(found)) => return Ok(found),
            Ok(None) => {}
            Err(error) if on_cache_failure == OnCacheFailure::Warn => {
                note(format!("warning: not kept in the cache: {error:#}"));
            }
            Err(error) => return Err(error),
        }
        let Compiled {
            wasm: _,
            artifact,
            manifest,
            preinit: _,
        } = compiled;
        Ok(NativeCode {
            artifact: VerifiedArtifact::in_memory(manifest.clone(), &artifact)?,
            manifest,
            path: None,
            cached: false,
            preinitialised: false,
        })
    }

    /// Returns true if cached code was pre-initialised, or not, as the options ask.
    fn start_matches_choice(&self, wasm: &[u8], found: &NativeCode) -> bool {
        match self.preinit {
            PreinitChoice::Marked => true,
            PreinitChoice::Always => !found.has_start(),
            PreinitChoice::Never => found.has_start() == preinit::has_start(wasm),
        }
    }

    fn find(&self, digest: &Digest) -> Result<Option<NativeCode>> {
        let Some(cache) = &self.cache else {
            return Ok(None);
        };
        let artifact = cache.lookup(digest, &self.profile)?;
        Ok(artifact.map(|artifact| NativeCode {
            manifest: artifact.manifest().clone(),
            artifact,
            path: Some(cache.artifact_path(digest, &self.profile)),
            cached: true,
            preinitialised: false,
        }))
    }

    /// Stores the source again if the cache holds only its artifact: other profiles need the
    /// source.
    fn keep_source(&self, wasm: &[u8], digest: &Digest, note: &dyn Fn(String)) {
        if let Some(cache) = &self.cache
            && !cache.source_path(digest).exists()
            && let Err(error) = cache.put_source(wasm)
        {
            note(format!(
                "warning: the source is not kept in the cache: {error}"
            ));
        }
    }

    fn publish(&self, compiled: &Compiled) -> Result<Option<NativeCode>> {
        let Some(cache) = &self.cache else {
            return Ok(None);
        };
        let Compiled {
            wasm,
            artifact,
            manifest,
            preinit: _,
        } = compiled;
        Ok(Some(NativeCode {
            artifact: cache.publish_with_source(wasm, manifest, artifact)?,
            manifest: manifest.clone(),
            path: Some(cache.artifact_path(&manifest.source, &self.profile)),
            cached: false,
            preinitialised: false,
        }))
    }

    fn pool(&self) -> Result<&CompilerPool> {
        self.pool
            .get_or_init(|| {
                CompilerPool::new(&self.profile, &self.bounds, self.jobs, self.preinit)
                    .map_err(|error| format!("{error:#}"))
            })
            .as_ref()
            .map_err(|error| anyhow!("{error}"))
    }
}

impl CompilerPool {
    fn new(
        profile: &Profile,
        bounds: &Bounds,
        jobs: NonZeroUsize,
        preinit: PreinitChoice,
    ) -> Result<Self> {
        Ok(Self {
            compiler: Compiler::new(profile, bounds.clone())?.with_preinit(preinit),
            threads: rayon::ThreadPoolBuilder::new()
                .num_threads(jobs.get())
                .build()?,
        })
    }

    /// Compiles on the threads of the pool. All modules share them, so the number of busy threads
    /// does not grow with the number of modules.
    fn compile(&self, wasm: &[u8]) -> Result<Compiled, CompileError> {
        self.threads.install(|| self.compiler.compile(wasm))
    }
}
