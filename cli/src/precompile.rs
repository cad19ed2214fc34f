//! Native code for a module: found in the cache, or compiled into it.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::OnceLock;

use anyhow::{Result, anyhow, bail};
use ferrite_cache::{Cache, Digest, Manifest, Profile, VerifiedArtifact};
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
        if let Some(found) = self.find(&digest)?.filter(|found| self.suits(wasm, found)) {
            self.keep_source(wasm, &digest, note);
            return Ok(found);
        }
        // Whoever else is compiling the same is waited for; then it is in the cache.
        let _lock = match &self.cache {
            Some(cache) => Some(cache.lock(&digest, &self.profile)?),
            None => None,
        };
        let other = match self.find(&digest)? {
            Some(found) if self.suits(wasm, &found) => return Ok(found),
            other => other,
        };
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
        if let (Some(cache), Some(_)) = (&self.cache, other) {
            cache.discard(&digest, &self.profile)?;
        }
        match self.publish(&compiled) {
            Ok(Some(found)) => return Ok(found),
            Ok(None) => {}
            Err(error) if unkept == Unkept::Warn => {
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
        Ok(Found {
            artifact: VerifiedArtifact::in_memory(manifest.clone(), &artifact)?,
            manifest,
            path: None,
            cached: false,
            preinitialised: false,
        })
    }

    /// Whether code that is there is what was asked for: with its start run, or with it left to run.
    fn suits(&self, wasm: &[u8], found: &Found) -> bool {
        match self.preinit {
            PreinitChoice::Marked => true,
            PreinitChoice::Always => !found.has_start(),
            PreinitChoice::Never => found.has_start() == preinit::has_start(wasm),
        }
    }

    fn find(&self, digest: &Digest) -> Result<Option<Found>> {
        let Some(cache) = &self.cache else {
            return Ok(None);
        };
        let artifact = cache.lookup(digest, &self.profile)?;
        Ok(artifact.map(|artifact| Found {
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

    fn publish(&self, compiled: &Compiled) -> Result<Option<Found>> {
        let Some(cache) = &self.cache else {
            return Ok(None);
        };
        let Compiled {
            wasm,
            artifact,
            manifest,
            preinit: _,
        } = compiled;
        Ok(Some(Found {
            artifact: cache.publish_with_source(wasm, manifest, artifact)?,
            manifest: manifest.clone(),
            path: Some(cache.artifact_path(&manifest.source, &self.profile)),
            cached: false,
            preinitialised: false,
        }))
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
