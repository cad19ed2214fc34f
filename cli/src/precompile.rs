//! Native code for a module: found in the cache, or compiled into it.

use std::cell::Cell;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::OnceLock;

use anyhow::{Result, anyhow, bail};
use ferrite_cache::{
    Cache, CacheError, CompiledModule, Digest, Manifest, Origin, Profile, VerifiedArtifact,
};
use ferrite_compiler::preinit;
use ferrite_compiler::{CompileError, Compiled, Compiler, Preinit, PreinitChoice, SourceLimits};

use crate::files::source::TooLarge;
use crate::terminal::units::Bytes;

/// Finds or compiles modules for one profile. It may be used from several threads at once.
pub(crate) struct Precompiler {
    profile: Profile,
    bounds: SourceLimits,
    /// Threads that compile, all modules together.
    jobs: NonZeroUsize,
    preinit: PreinitChoice,
    cache: Option<Cache>,
    /// Made for the first module that is not in the cache.
    machine: OnceLock<Result<Machine, String>>,
}

/// A compiler, and the threads on which it works.
struct Machine {
    compiler: Compiler,
    threads: rayon::ThreadPool,
}

/// Native code, wherever it came from.
pub(crate) struct Found {
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
pub(crate) enum Unkept {
    /// It is an error.
    Fail,
    /// It is used from memory, with a warning.
    Warn,
}

/// The word for what is wrong with a module: `INVALID`, `LIMIT` or `INTERNAL`.
pub(crate) fn code(error: &anyhow::Error) -> Option<&'static str> {
    if error.is::<TooLarge>() {
        Some("LIMIT")
    } else {
        error.downcast_ref::<CompileError>().map(CompileError::code)
    }
}

impl Found {
    fn new(artifact: VerifiedArtifact, path: Option<PathBuf>, cached: bool) -> Self {
        Self {
            manifest: artifact.manifest().clone(),
            artifact,
            path,
            cached,
            preinitialised: false,
        }
    }

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
            bounds: SourceLimits::default(),
            jobs,
            preinit: PreinitChoice::default(),
            cache,
            machine: OnceLock::new(),
        }
    }

    /// Chooses which modules are pre-initialised; without this, those that ask for it.
    pub(crate) fn with_preinit(mut self, choice: PreinitChoice) -> Self {
        self.preinit = choice;
        self
    }

    /// The bounds of what is compiled.
    pub(crate) fn bounds(&self) -> &SourceLimits {
        &self.bounds
    }

    /// Finds the native code of a source in either format, or compiles it.
    ///
    /// `name` is what the source is called in what `note` is told meanwhile.
    pub(crate) fn obtain(
        &self,
        name: &str,
        source: &[u8],
        unkept: Unkept,
        note: &dyn Fn(String),
    ) -> Result<Found> {
        let wasm = ferrite_compiler::to_wasm(source, &self.bounds).map_err(CompileError::from)?;
        let mut found = self.obtain_binary(name, &wasm, unkept, note)?;
        found.preinitialised = preinit::has_start(&wasm) && !found.has_start();
        Ok(found)
    }

    fn obtain_binary(
        &self,
        name: &str,
        wasm: &[u8],
        unkept: Unkept,
        note: &dyn Fn(String),
    ) -> Result<Found> {
        let digest = Digest::of(wasm);
        let Some(cache) = &self.cache else {
            let compiled = CompiledModule::from(self.compile(name, wasm, note)?);
            return Ok(Found::new(compiled.into_memory()?, None, false));
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
            |error: CacheError| match unkept {
                Unkept::Fail => Err(anyhow::Error::from(error)),
                Unkept::Warn => {
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
        let path = cache.artifact_path(&digest, &self.profile);
        let path = (origin != Origin::Memory).then_some(path);
        Ok(Found::new(artifact, path, cached))
    }

    /// Compiles a module that the cache does not have.
    fn compile(&self, name: &str, wasm: &[u8], note: &dyn Fn(String)) -> Result<Compiled> {
        note(format!("compiling {name} ({})", Bytes(wasm.len() as u64)));
        let compiled = self.machine()?.compile(wasm)?;
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

    /// Whether code that is there is what was asked for: with its start run, or with it left to run.
    fn suits(&self, wasm: &[u8], manifest: &Manifest) -> bool {
        let has_start = manifest.module.start || manifest.module.initialize;
        match self.preinit {
            PreinitChoice::Marked => true,
            PreinitChoice::Always => !has_start,
            PreinitChoice::Never => has_start == preinit::has_start(wasm),
        }
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

    fn machine(&self) -> Result<&Machine> {
        self.machine
            .get_or_init(|| {
                Machine::new(&self.profile, &self.bounds, self.jobs, self.preinit)
                    .map_err(|error| format!("{error:#}"))
            })
            .as_ref()
            .map_err(|error| anyhow!("{error}"))
    }
}

impl Machine {
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

    /// Compiles on the threads of the pool, which all modules share: their number is that of the
    /// processors in use, however many modules there are.
    fn compile(&self, wasm: &[u8]) -> Result<Compiled, CompileError> {
        self.threads.install(|| self.compiler.compile(wasm))
    }
}
