//! Compiles one file: reads it, finds or compiles its code, and writes the artifact to `--output`.

use std::io::{self, Seek, Write};
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use ferrite_cache::VerifiedArtifact;
use ferrite_compiler::CompileError;

use super::options::Options;
use super::report::{Done, Failure, FileReport, Outcome};
use crate::files::source_file;
use crate::platform::Platform;
use crate::precompile::{self, NativeCode, OnCacheFailure, Precompiler};

/// Compiles files with shared options; threads may share it.
pub(crate) struct FileCompiler<'a> {
    options: &'a Options,
    precompiler: Precompiler,
    /// Reason why the cache cannot be used, or `None` if it can.
    without_cache: Option<String>,
}

impl<'a> FileCompiler<'a> {
    /// Opens the cache. If that fails, artifacts can still be written to `--output`; without that
    /// option it is an error.
    pub(crate) fn new(options: &'a Options) -> Result<Self> {
        let (cache, without_cache) = match options.cache.open() {
            Ok(cache) => (Some(cache), None),
            Err(error) if options.output.is_some() => (None, Some(format!("{error:#}"))),
            Err(error) => return Err(error),
        };
        Ok(Self {
            options,
            precompiler: Precompiler::new(options.profile.clone(), options.jobs, cache)
                .with_preinit(options.preinit),
            without_cache,
        })
    }

    /// Compiles one file. `note` receives progress messages.
    pub(crate) fn compile(&self, file: &Path, note: &dyn Fn(String)) -> FileReport {
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
        if let Some(reason) = &self.without_cache {
            note(format!("warning: working without the cache: {reason}"));
        }
        let source = source_file::read(file, self.precompiler.bounds().source_bytes_max)?;
        let on_cache_failure = match self.options.output {
            Some(_) => OnCacheFailure::Warn,
            None => OnCacheFailure::Fail,
        };
        let name = file.display().to_string();
        let NativeCode {
            manifest,
            artifact,
            path,
            cached,
            preinitialised,
        } = self
            .precompiler
            .find_or_compile(&name, &source, on_cache_failure, note)?;
        if let Some(output) = &self.options.output {
            write(&artifact, output)
                .with_context(|| format!("cannot write {}", output.display()))?;
            if manifest.image.is_some() {
                note(format!(
                    "note: {} is code that functions share, without the memory that makes it {name}; a bundle has both",
                    output.display()
                ));
            }
        }
        let profile = &self.options.profile;
        Ok(Done {
            source: manifest.source,
            source_bytes: manifest.source_len,
            artifact: path,
            artifact_digest: manifest.artifact,
            artifact_bytes: manifest.artifact_len,
            output: self.options.output.clone(),
            platform: Platform::of(profile),
            profile: profile.fingerprint(),
            cached,
            preinitialised,
            micros: u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX),
        })
    }
}

fn failure(error: &anyhow::Error) -> Failure {
    Failure {
        code: precompile::error_code(error),
        message: format!("{error:#}"),
        offset: error
            .downcast_ref::<CompileError>()
            .and_then(CompileError::offset),
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
