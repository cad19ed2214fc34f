//! One file's way: read, found in the cache or compiled into it, written where it was asked for.

use std::io::{self, Seek, Write};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Instant;

use anyhow::{Context, Result, anyhow, bail};
use ferrite_cache::{Cache, Digest, Manifest, Profile, VerifiedArtifact};
use ferrite_compiler::{Bounds, CompileError, Compiled, Compiler};

use super::options::Options;
use super::report::{Done, Failure, FileReport, Outcome};
use crate::source::{self, TooLarge};
use crate::units::Bytes;

/// What all files share.
pub(super) struct Work<'a> {
    options: &'a Options,
    bounds: Bounds,
    /// The cache, or why there is none. Without one, the artifact has to be written elsewhere.
    cache: Result<Cache, String>,
    /// Made for the first file that is not in the cache.
    machine: OnceLock<Result<Machine, String>>,
}

/// A compiler, and the threads on which it works.
struct Machine {
    compiler: Compiler,
    threads: rayon::ThreadPool,
}

/// Native code, wherever it came from.
struct Found {
    manifest: Manifest,
    artifact: VerifiedArtifact,
    /// Whether the artifact is a file of the cache.
    stored: bool,
    cached: bool,
}

impl<'a> Work<'a> {
    /// Opens the cache. Without one, artifacts can still be written elsewhere.
    pub(super) fn new(options: &'a Options) -> Result<Self> {
        let cache = match options.cache.open() {
            Ok(cache) => Ok(cache),
            Err(error) if options.output.is_some() => Err(format!("{error:#}")),
            Err(error) => return Err(error),
        };
        Ok(Self {
            options,
            bounds: Bounds::default(),
            cache,
            machine: OnceLock::new(),
        })
    }

    /// Brings one file to its end; `note` takes what is to be said meanwhile.
    pub(super) fn compile(&self, file: &Path, note: &dyn Fn(String)) -> FileReport {
        let outcome = match self.try_compile(file, note) {
            Ok(done) => Outcome::Done(Box::new(done)),
            Err(error) => Outcome::Error(failure(&error)),
        };
        FileReport {
            file: file.to_owned(),
            outcome,
        }
    }

    fn try_compile(&self, file: &Path, note: &dyn Fn(String)) -> Result<Done> {
        let started = Instant::now();
        if let Err(error) = &self.cache {
            note(format!("warning: working without the cache: {error}"));
        }
        let source = source::read(file, self.bounds.source_bytes_max)?;
        let wasm = ferrite_compiler::to_wasm(&source, &self.bounds).map_err(CompileError::from)?;
        let digest = Digest::of(&wasm);
        let found = match self.find(&digest)? {
            Some(found) => {
                self.keep_source(&wasm, &digest, note);
                found
            }
            None => self.make(file, &wasm, &digest, note)?,
        };
        let Found {
            manifest,
            artifact,
            stored,
            cached,
        } = found;
        if let Some(output) = &self.options.output {
            write(&artifact, output)
                .with_context(|| format!("cannot write {}", output.display()))?;
        }
        let profile = &self.options.profile;
        Ok(Done {
            source: digest,
            source_bytes: manifest.source_len,
            artifact: self.path_in_cache(&digest, stored),
            artifact_digest: manifest.artifact,
            artifact_bytes: manifest.artifact_len,
            output: self.options.output.clone(),
            target: profile.target(),
            baseline: profile.baseline(),
            profile: profile.fingerprint(),
            cached,
            micros: u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX),
        })
    }

    fn find(&self, digest: &Digest) -> Result<Option<Found>> {
        let Ok(cache) = &self.cache else {
            return Ok(None);
        };
        let artifact = cache.lookup(digest, &self.options.profile)?;
        Ok(artifact.map(|artifact| Found {
            manifest: artifact.manifest().clone(),
            artifact,
            stored: true,
            cached: true,
        }))
    }

    /// Compiles a module, unless another process is at it and does so first.
    fn make(
        &self,
        file: &Path,
        wasm: &[u8],
        digest: &Digest,
        note: &dyn Fn(String),
    ) -> Result<Found> {
        let _lock = match &self.cache {
            Ok(cache) => Some(cache.lock(digest, &self.options.profile)?),
            Err(_) => None,
        };
        if let Some(found) = self.find(digest)? {
            return Ok(found);
        }
        note(format!(
            "compiling {} ({})",
            file.display(),
            Bytes(wasm.len() as u64)
        ));
        let Compiled {
            wasm,
            artifact,
            manifest,
        } = self.machine()?.compile(wasm)?;
        let stored = match self.publish(&wasm, &manifest, &artifact) {
            Ok(stored) => stored,
            Err(error) if self.options.output.is_some() => {
                note(format!("warning: not kept in the cache: {error:#}"));
                None
            }
            Err(error) => return Err(error),
        };
        Ok(match stored {
            Some(artifact) => Found {
                manifest,
                artifact,
                stored: true,
                cached: false,
            },
            None => Found {
                artifact: VerifiedArtifact::in_memory(manifest.clone(), &artifact)?,
                manifest,
                stored: false,
                cached: false,
            },
        })
    }

    /// Puts a source back of which only the artifact is left: other profiles will need it.
    fn keep_source(&self, wasm: &[u8], digest: &Digest, note: &dyn Fn(String)) {
        if let Ok(cache) = &self.cache
            && !cache.source_path(digest).exists()
            && let Err(error) = cache.put_source(wasm)
        {
            note(format!(
                "warning: the source is not kept in the cache: {error}"
            ));
        }
    }

    fn publish(
        &self,
        wasm: &[u8],
        manifest: &Manifest,
        artifact: &[u8],
    ) -> Result<Option<VerifiedArtifact>> {
        let Ok(cache) = &self.cache else {
            return Ok(None);
        };
        cache.put_source(wasm)?;
        Ok(Some(cache.publish(manifest, artifact)?))
    }

    fn machine(&self) -> Result<&Machine> {
        let Options { profile, jobs, .. } = self.options;
        self.machine
            .get_or_init(|| {
                Machine::new(profile, &self.bounds, *jobs).map_err(|error| format!("{error:#}"))
            })
            .as_ref()
            .map_err(|error| anyhow!("{error}"))
    }

    fn path_in_cache(&self, digest: &Digest, stored: bool) -> Option<PathBuf> {
        let cache = self.cache.as_ref().ok().filter(|_| stored)?;
        Some(cache.artifact_path(digest, &self.options.profile))
    }
}

impl Machine {
    fn new(profile: &Profile, bounds: &Bounds, jobs: NonZeroUsize) -> Result<Self> {
        Ok(Self {
            compiler: Compiler::new(profile, bounds.clone())?,
            threads: rayon::ThreadPoolBuilder::new()
                .num_threads(jobs.get())
                .build()?,
        })
    }

    /// Compiles on the threads of the pool, which all files share: their number is that of the
    /// processors in use, however many files there are.
    fn compile(&self, wasm: &[u8]) -> Result<Compiled, CompileError> {
        self.threads.install(|| self.compiler.compile(wasm))
    }
}

fn failure(error: &anyhow::Error) -> Failure {
    let compile = error.downcast_ref::<CompileError>();
    Failure {
        code: if error.is::<TooLarge>() {
            Some("LIMIT")
        } else {
            compile.map(CompileError::code)
        },
        message: format!("{error:#}"),
        offset: compile.and_then(CompileError::offset),
    }
}

/// Writes an artifact to a file of its own: whole, or not at all.
fn write(artifact: &VerifiedArtifact, path: &Path) -> Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    if !folder.is_dir() {
        bail!("there is no folder {}", folder.display());
    }
    let mut temporary = tempfile::Builder::new()
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
        .tempfile_in(folder)?;
    let mut file = artifact.file().try_clone()?;
    file.rewind()?;
    io::copy(&mut file, &mut temporary)?;
    temporary.flush()?;
    temporary.as_file().sync_all()?;
    temporary.persist(path)?;
    Ok(())
}
