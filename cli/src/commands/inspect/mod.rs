//! `ferrite-wasmc inspect`: describes a module, artifact or bundle.

mod artifact;
mod bundle;
mod report;
mod requirements;

use std::path::Path;

use anyhow::{Context, Result, bail};
use ferrite_cache::{Cache, Digest, JavaScript, Manifest};
use ferrite_compiler::{CompileError, SourceLimits};

use crate::files::bundle_file;
use crate::files::cache_folder::CacheFolder;
use crate::files::source_file;
use crate::platform::Platform;
use crate::terminal::console::{Console, Exit};
use report::{Compiled, Inspection, ModuleReport, Refusal, SourceReport};
use requirements::Requirements;

/// Largest file that is read, in bytes; an artifact is larger than its source.
const FILE_BYTES_MAX: u64 = 1 << 30;

/// The arguments of `ferrite-wasmc inspect`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Module, artifact or bundle, or the digest of a module or artifact in the cache, of which the
    /// first hex digits are enough
    #[arg(value_name = "FILE|blake3:HEX")]
    subject: String,

    #[command(flatten)]
    cache: CacheFolder,
}

/// Describes the subject.
pub(crate) fn run(arguments: Arguments, console: &Console) -> Result<Exit> {
    let Arguments { subject, cache } = arguments;
    let cache = cache.open_existing()?;
    let report = if let Some(digits) = digits_of(&subject) {
        by_digest(whole_digest(digits, cache.as_ref())?, cache.as_ref())?
    } else {
        let path = Path::new(&subject);
        source_file::read(path, FILE_BYTES_MAX)
            .and_then(|bytes| describe(&bytes, cache.as_ref()))
            .with_context(|| subject.clone())?
    };
    console.print(&report)?;
    Ok(Exit::Done)
}

/// Describes a file by its bytes.
fn describe(bytes: &[u8], cache: Option<&Cache>) -> Result<Inspection> {
    if bundle_file::is_bundle(bytes) {
        bundle::describe(bytes).map(|report| Inspection::Bundle(Box::new(report)))
    } else if artifact::is_artifact(bytes) {
        artifact::describe(bytes, cache).map(|report| Inspection::Artifact(Box::new(report)))
    } else {
        describe_source(bytes, cache).map(|report| Inspection::Source(Box::new(report)))
    }
}

/// Fewest digits that stand for a digest; fewer are more likely a mistake.
const DIGITS_MIN: usize = 4;

/// Digits of a digest.
const DIGITS: usize = 64;

/// Returns the digits of a digest or of its beginning. Without `blake3:` before them, a file may have this name.
fn digits_of(subject: &str) -> Option<&str> {
    subject.strip_prefix("blake3:").or_else(|| {
        let is_start = is_start_of_digest(subject) && !Path::new(subject).exists();
        is_start.then_some(subject)
    })
}

fn is_start_of_digest(digits: &str) -> bool {
    (DIGITS_MIN..=DIGITS).contains(&digits.len())
        && digits.bytes().all(|digit| digit.is_ascii_hexdigit())
}

/// Completes a digest of which only the first digits are given, if one in the cache begins with them.
fn whole_digest(digits: &str, cache: Option<&Cache>) -> Result<Digest> {
    if !is_start_of_digest(digits) {
        bail!(
            "`{}` is no digest: it has {DIGITS} hex digits, of which the first {DIGITS_MIN} or more are enough",
            digits.escape_debug()
        );
    }
    let start = format!("blake3:{}", digits.to_ascii_lowercase());
    if digits.len() == DIGITS {
        return Ok(start.parse()?);
    }
    let Some(cache) = cache else {
        bail!("{start} is not in the cache, as there is none; name it with --cache");
    };
    let mut found: Vec<Digest> = cache
        .list()?
        .into_iter()
        .flat_map(|entry| {
            let artifacts = entry.artifacts.into_iter();
            let artifacts = artifacts.filter_map(|one| Some(one.manifest?.artifact));
            std::iter::once(entry.source).chain(artifacts)
        })
        .filter(|digest| digest.to_string().starts_with(&start))
        .collect();
    found.sort_unstable();
    found.dedup();
    match found.as_slice() {
        [digest] => Ok(*digest),
        [] => bail!(
            "no digest in the cache {} begins with {start}",
            cache.root().display()
        ),
        [one, other, ..] => bail!(
            "{} digests in the cache begin with {start}, such as {one} and {other}; give more digits",
            found.len()
        ),
    }
}

fn by_digest(digest: Digest, cache: Option<&Cache>) -> Result<Inspection> {
    let Some(cache) = cache else {
        bail!("{digest} is not in the cache, as there is none; name it with --cache");
    };
    if let Some(wasm) = cache.source(&digest)? {
        return describe_source(&wasm, Some(cache))
            .map(|report| Inspection::Source(Box::new(report)));
    }
    if let Some(artifact) = artifact::in_cache(&digest, cache)? {
        return Ok(Inspection::Artifact(Box::new(artifact)));
    }
    bail!(
        "{digest} is not in the cache {}; compile its source, or name another one with --cache",
        cache.root().display()
    )
}

/// Describes a source, with every reason for which it would be refused.
fn describe_source(source: &[u8], cache: Option<&Cache>) -> Result<SourceReport> {
    let bounds = SourceLimits::default();
    let mut report = SourceReport {
        source: Digest::of(source),
        bytes: source.len() as u64,
        text_bytes: None,
        module: None,
        refused: Vec::new(),
        compiled: Vec::new(),
    };
    let refuse = |error: CompileError| Refusal {
        code: error.code(),
        message: error.to_string(),
        offset: error.offset(),
    };
    let wasm = match ferrite_compiler::to_wasm(source, &bounds) {
        Ok(wasm) => wasm,
        Err(error) => {
            report.refused.push(refuse(error.into()));
            return Ok(report);
        }
    };
    if matches!(wasm, std::borrow::Cow::Owned(_)) {
        report.text_bytes = Some(report.bytes);
        report.bytes = wasm.len() as u64;
        if !JavaScript::is(source) {
            report.source = Digest::of(&wasm);
        }
    }
    let flat = match ferrite_compiler::flatten::flatten(&wasm, &bounds) {
        Ok(flat) => flat,
        Err(error) => {
            report.refused.push(refuse(error.into()));
            return Ok(report);
        }
    };
    // Every fault is listed if the module itself is refused, and else the first one of its declarations.
    match ferrite_compiler::validate(&flat, &bounds)
        .map(|_| ferrite_compiler::describe(&wasm, &bounds))
    {
        Ok(Err(error)) => report.refused.push(refuse(error)),
        Ok(Ok(info)) => {
            if let Err(error) = ferrite_runtime::automation::declared::check(&info.automation) {
                report.refused.push(Refusal {
                    code: error.code().as_str(),
                    message: error.text().to_owned(),
                    offset: None,
                });
            }
            report.module = Some(ModuleReport {
                needs: Requirements::of(&info, JavaScript::decode(source).ok().as_ref()),
                info,
            });
        }
        Err(_) => {
            report.refused = ferrite_compiler::problems(&flat, &bounds)
                .into_iter()
                .map(|error| refuse(error.into()))
                .collect();
        }
    }
    if let Some(cache) = cache {
        report.compiled = compiled(&report.source, cache)?;
    }
    Ok(report)
}

/// Lists the artifacts of a source in the cache.
fn compiled(source: &Digest, cache: &Cache) -> Result<Vec<Compiled>> {
    let mut compiled: Vec<_> = manifests(cache)?
        .filter(|manifest| manifest.source == *source)
        .map(|manifest| Compiled {
            artifact: manifest.artifact,
            bytes: manifest.artifact_len,
            platform: Platform::of(&manifest.profile),
            profile: manifest.profile.fingerprint(),
            compile_micros: manifest.compile_micros,
        })
        .collect();
    compiled.sort_by_key(|one| (one.platform, one.profile));
    Ok(compiled)
}

/// Returns all manifests in the cache that can be read.
fn manifests(cache: &Cache) -> Result<impl Iterator<Item = Manifest>> {
    Ok(cache
        .list()?
        .into_iter()
        .flat_map(|entry| entry.artifacts)
        .filter_map(|artifact| artifact.manifest))
}
