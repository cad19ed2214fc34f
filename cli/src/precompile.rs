//! Native code for a module: found in the cache, or compiled into it.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::OnceLock;

use anyhow::{Result, anyhow, bail};
use ferrite_cache::{Cache, Digest, Manifest, Profile, VerifiedArtifact};
use ferrite_compiler::preinit;
use ferrite_compiler::{Bounds, CompileError, Compiled, Compiler, Preinit, PreinitChoice};

use crate::files::bounded_file::TooLarge;
use crate::terminal::units::Bytes;

/// Finds or compiles modules for one profile. It may be used from several threads at once.
pub(crate) struct Precompiler {
    profile: Profile,
    bounds: Bounds,
    /// Threads that compile, all modules together.
    jobs: NonZeroUsize,
    preinit: PreinitChoice,
    cache: Option<Cache>,
    /// Made for the first module that is not in the cache.
    pool: OnceLock<Result<CompilerPool, String>>,
}

/// A compiler, and the threads on which it works.
struct CompilerPool {
    compiler: Compiler,
    threads: rayon::ThreadPool,
}

/// Native code, wherever it came from.
pub(crate) struct NativeCode {
    pub(crate) manifest: Manifest,
    pub(crate) artifact: VerifiedArtifact,
    /// Where the artifact is in the cache, if it is there.
    pub(crate) path: Option<PathBuf>,
    /// Whether it was there already.
    pub(crate) cached: bool,
    /// Whether the module's start has run, so that no instance runs it any more.
    pub(crate) preinitialised: bool,
}

/// Which modules are pre-initialised, as it is typed.
#[derive(Debug, clap::Args)]
pub(crate) struct PreinitOptions {
    /// Run the module's start now instead of in every new instance; without it, that is done where
    /// the language's SDK asks for it, as Go's does
    #[arg(long, conflicts_with = "no_preinit")]
    preinit: bool,

    /// Leave the module's start to every new instance, whatever the SDK asks for
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

/// What happens to native code that the cache does not take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnCacheFailure {
    /// It is an error.
    Fail,
    /// It is used from memory, with a warning.
    Warn,
}

/// The word for what is wrong with a module: `INVALID`, `LIMIT` or `INTERNAL`.
pub(crate) fn error_code(error: &anyhow::Error) -> Option<&'static str> {
    if error.is::<TooLarge>() {
        Some("LIMIT")
    } else {
        error.downcast_ref::<CompileError>().map(CompileError::code)
    }
}

impl NativeCode {
    /// Whether a start is left to run in every new instance.
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

    /// Chooses which modules are pre-initialised; without this, those that ask for it.
    pub(crate) fn with_preinit(mut self, choice: PreinitChoice) -> Self {
        self.preinit = choice;
        self
    }

    /// The bounds of what is compiled.
    pub(crate) fn bounds(&self) -> &Bounds {
        &self.bounds
    }

    /// Finds the native code of a source in either format, or compiles it.
    ///
    /// `name` is what the source is called in what `note` is told meanwhile.
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
        // Whoever else is compiling the same is waited for; then it is in the cache.
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

    /// Whether code that is there is what was asked for: with its start run, or with it left to run.
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

    /// Puts a source back of which only the artifact is left: other profiles will need it.
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

    /// Compiles on the threads of the pool, which all modules share: their number is that of the
    /// processors in use, however many modules there are.
    fn compile(&self, wasm: &[u8]) -> Result<Compiled, CompileError> {
        self.threads.install(|| self.compiler.compile(wasm))
    }
}
