//! Finds the native code of a module in the cache, or compiles it into the cache.

use std::cell::Cell;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::OnceLock;

use anyhow::{Result, anyhow, bail};
use ferrite_cache::{
    Cache, CacheError, CompiledModule, Digest, KnownEngine, Manifest, Origin, Profile,
    VerifiedArtifact,
};
use ferrite_compiler::{CompileError, Compiled, Compiler, Preinit, PreinitChoice, SourceLimits};
use ferrite_compiler::{flatten, preinit};

use crate::files::bounded_file::TooLarge;
use crate::terminal::units::Bytes;

/// Finds or compiles modules for one profile. Several threads may share it.
pub(crate) struct Precompiler {
    profile: Profile,
    bounds: SourceLimits,
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

/// Reaction to compiled code that cannot be stored in the cache.
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
    fn new(artifact: VerifiedArtifact, path: Option<PathBuf>, cached: bool) -> Self {
        Self {
            manifest: artifact.manifest().clone(),
            artifact,
            path,
            cached,
            preinitialised: false,
        }
    }

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
            bounds: SourceLimits::default(),
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
    pub(crate) fn bounds(&self) -> &SourceLimits {
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
        let wasm = ferrite_compiler::to_stored(source, &self.bounds).map_err(CompileError::from)?;
        let mut found = self.find_or_compile_binary(name, &wasm, on_cache_failure, note)?;
        // The starts of a component's modules are no start of the module that it becomes.
        let has_start = !flatten::is_component(&wasm) && preinit::has_start(&wasm);
        found.preinitialised = has_start && !found.has_start();
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
        let Some(cache) = &self.cache else {
            let compiled = CompiledModule::from(self.compile(name, wasm, note)?);
            return Ok(NativeCode::new(compiled.into_memory()?, None, false));
        };
        let replaces = Cell::new(false);
        let warned = Cell::new(false);
        let (artifact, origin) = cache.get_or_compile_with(
            &digest,
            &self.profile,
            || {
                let found = cache.lookup(&digest, &self.profile)?;
                let suits = |found: &VerifiedArtifact| self.suits(wasm, found.manifest());
                replaces.set(found.as_ref().is_some_and(|found| !suits(found)));
                Ok(found.filter(|_| !replaces.get()))
            },
            |error: CacheError| match on_cache_failure {
                OnCacheFailure::Fail => Err(anyhow::Error::from(error)),
                OnCacheFailure::Warn => {
                    if !warned.replace(true) {
                        let error = anyhow::Error::from(error);
                        note(format!("warning: not kept in the cache: {error:#}"));
                    }
                    Ok(())
                }
            },
            || {
                let compiled = self.compile(name, wasm, note)?;
                if replaces.get() {
                    cache.discard(&digest, &self.profile)?;
                }
                Ok(compiled.into())
            },
        )?;
        let cached = origin == Origin::Cache;
        if cached {
            self.keep_source(wasm, &digest, note);
        }
        let path = cache.code_path(artifact.manifest());
        let path = (origin != Origin::Memory).then_some(path);
        Ok(NativeCode::new(artifact, path, cached))
    }

    /// Compiles a module that the cache does not have.
    fn compile(&self, name: &str, wasm: &[u8], note: &dyn Fn(String)) -> Result<Compiled> {
        note(format!("compiling {name} ({})", Bytes(wasm.len() as u64)));
        let mut compiled = self.pool()?.compile(wasm, &self.known_engines())?;
        if compiled.artifact.is_empty() {
            match self.engine_code(&compiled.manifest) {
                Some(code) => compiled.artifact = code,
                // It was evicted meanwhile.
                None => compiled = self.pool()?.compile(wasm, &[])?,
            }
        }
        match (&compiled.preinit, self.preinit) {
            (Preinit::Refused { reason }, PreinitChoice::Always) => {
                bail!("it cannot be pre-initialised: {reason}")
            }
            (Preinit::Refused { reason }, _) => {
                note(format!("{name} is not pre-initialised: {reason}"));
            }
            (Preinit::Done | Preinit::NotAsked, _) => {}
        }
        Ok(compiled)
    }

    /// Returns the engines whose native code the cache has. If it cannot be read, they are compiled again.
    fn known_engines(&self) -> Vec<KnownEngine> {
        let engines = self
            .cache
            .as_ref()
            .map(|cache| cache.engines(&self.profile));
        engines.and_then(Result::ok).unwrap_or_default()
    }

    /// Reads the native code that a manifest names, which was not compiled again.
    fn engine_code(&self, manifest: &Manifest) -> Option<Vec<u8>> {
        let engine = KnownEngine {
            engine: manifest.image.as_ref()?.engine,
            native: manifest.artifact,
            native_len: manifest.artifact_len,
        };
        self.cache
            .as_ref()?
            .engine_code(&self.profile, &engine)
            .ok()?
    }

    /// Returns true if cached code was pre-initialised, or not, as the options ask.
    fn suits(&self, wasm: &[u8], manifest: &Manifest) -> bool {
        let has_start = manifest.module.start || manifest.module.initialize;
        match self.preinit {
            PreinitChoice::Marked => true,
            PreinitChoice::Always => !has_start,
            PreinitChoice::Never => has_start == preinit::has_start(wasm),
        }
    }

    /// Stores the source again if only its artifact is left: other profiles will need it.
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
        bounds: &SourceLimits,
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
    fn compile(&self, wasm: &[u8], engines: &[KnownEngine]) -> Result<Compiled, CompileError> {
        self.threads
            .install(|| self.compiler.compile_unless_known(wasm, engines))
    }
}
