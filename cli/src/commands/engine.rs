//! `ferrite-wasmc engine`: compiles a language's engine into the cache, for servers without a compiler.

use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::Result;
use ferrite_cache::javascript::JAVASCRIPT_ENGINE;
use ferrite_cache::{Baseline, Digest, Fingerprint, JavaScript, Target};
use serde::Serialize;

use crate::commands::compile::native_profile;
use crate::files::cache_folder::CacheFolder;
use crate::platform::Platform;
use crate::precompile::{NativeCode, OnCacheFailure, Precompiler};
use crate::terminal::console::{Console, Exit, Report};
use crate::terminal::progress::Progress;
use crate::terminal::units::{Bytes, Micros};

/// The arguments of `ferrite-wasmc engine`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Language whose programs servers are to take as source
    #[arg(value_name = "LANGUAGE")]
    language: EngineLanguage,

    #[command(flatten)]
    cache: CacheFolder,

    /// Platform to compile for. Default: this machine
    #[arg(long, value_name = "TRIPLE")]
    target: Option<Target>,

    /// CPU baseline to compile for: x86-64-v2, x86-64-v3, generic (for aarch64) or native. Default:
    /// native; with --target, the lowest baseline of that target
    #[arg(long, value_name = "BASELINE")]
    cpu: Option<Baseline>,

    /// Count the depth of nested calls, for functions with the limit max_stack_depth
    #[arg(long)]
    stack_depth: bool,

    /// Number of compiling threads. Default: one for each processor
    #[arg(long, value_name = "N")]
    jobs: Option<NonZeroUsize>,
}

/// A language with an engine that evaluates its programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum EngineLanguage {
    /// JavaScript
    #[value(alias = "js")]
    Javascript,
}

/// Compiles the engine, unless the cache has it.
pub(crate) fn run(arguments: Arguments, console: &Console) -> Result<Exit> {
    let Arguments {
        language: EngineLanguage::Javascript,
        cache,
        target,
        cpu,
        stack_depth,
        jobs,
    } = arguments;
    let started = Instant::now();
    let profile = native_profile(target, cpu)?.with_stack_depth(stack_depth);
    let jobs = jobs
        .or_else(|| std::thread::available_parallelism().ok())
        .unwrap_or(NonZeroUsize::MIN);
    let progress = Progress::new(1, console.is_json());
    let found = Precompiler::new(profile.clone(), jobs, Some(cache.open()?)).find_or_compile(
        JAVASCRIPT_ENGINE,
        &JavaScript::engine(),
        OnCacheFailure::Fail,
        &|text| progress.set_message(&text),
    );
    drop(progress);
    let NativeCode {
        manifest,
        path,
        cached,
        ..
    } = found?;
    console.print(&EngineReport {
        engine: JAVASCRIPT_ENGINE,
        source: manifest.source,
        artifact: path,
        artifact_bytes: manifest.artifact_len,
        image_bytes: manifest.image.map_or(0, |image| image.len),
        platform: Platform::of(&profile),
        profile: profile.fingerprint(),
        cached,
        micros: u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX),
    })?;
    Ok(Exit::Done)
}

/// An engine that was compiled, or found in the cache.
#[derive(Serialize)]
struct EngineReport {
    engine: &'static str,
    /// Digest by which servers find it.
    source: Digest,
    /// Path of its native code.
    artifact: Option<PathBuf>,
    artifact_bytes: u64,
    image_bytes: u64,
    #[serde(flatten)]
    platform: Platform,
    profile: Fingerprint,
    /// True if the cache held it before.
    cached: bool,
    /// Time taken in microseconds.
    micros: u64,
}

impl Report for EngineReport {
    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        let Self {
            engine,
            source,
            artifact,
            artifact_bytes,
            image_bytes,
            platform,
            profile: _,
            cached,
            micros,
        } = self;
        writeln!(out, "{engine}")?;
        writeln!(out, "  source    {source}")?;
        if let Some(path) = artifact {
            let (code, image) = (Bytes(*artifact_bytes), Bytes(*image_bytes));
            writeln!(
                out,
                "  artifact  {}  {code}, and {image} of memory",
                path.display()
            )?;
        }
        let took = Micros(*micros);
        if *cached {
            writeln!(out, "  cached    found in {took}, for {platform}")
        } else {
            writeln!(out, "  compiled  in {took}, for {platform}")
        }
    }
}
