//! Checks for everything that compiling depends on.

use std::borrow::Cow;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use ferrite_cache::worker_protocol::{
    CompileRequest, CompileResponse, ResponseLimits, SourceKind, read_response, write_request,
};
use ferrite_cache::{Cache, Profile};
use ferrite_compiler::{Compiler, SourceLimits};

use super::{Check, Finding};
use crate::files::cache_folder::CacheFolder;
use crate::terminal::units::{Bytes, Micros};

/// A small valid module.
const MODULE: &str = r#"(module (func (export "add1") (param i64) (result i64)
    (i64.add (local.get 0) (i64.const 1))))"#;

/// Limits on a worker's answer to it.
const ANSWER_BOUNDS: ResponseLimits = ResponseLimits {
    source_bytes_max: 1 << 20,
    artifact_bytes_max: 1 << 20,
};

/// Checks that the cache can be used; a missing one is fine, because compiling creates it.
pub(super) fn cache(folder: &CacheFolder) -> Check {
    let finding = match folder.open_existing() {
        Ok(Some(cache)) => check_cache(&cache),
        Ok(None) => Ok(format!(
            "{} does not exist yet; the first compilation creates it",
            folder.path.display()
        )),
        Err(error) => Err(error),
    };
    check("cache", finding)
}

fn check_cache(cache: &Cache) -> Result<String> {
    // Compiling starts by taking this lock.
    let probe = ferrite_cache::Digest::of(b"doctor");
    drop(cache.lock(&probe, &Profile::native())?);
    let usage = cache.usage()?;
    Ok(format!(
        "{}: {} (modules: {}, artifacts: {})",
        cache.root().display(),
        Bytes(usage.bytes()),
        usage.sources,
        usage.artifacts
    ))
}

/// Lists the baselines that the CPU supports.
pub(super) fn cpu() -> Check {
    let names: Vec<String> = Profile::candidates()
        .iter()
        .map(|profile| profile.baseline().to_string())
        .collect();
    let target = ferrite_cache::Target::host();
    check("cpu", Ok(format!("{target}: {}", names.join(", "))))
}

/// Checks that the compiler works in this process.
pub(super) fn compiler() -> Check {
    let compile = || -> Result<String> {
        let started = Instant::now();
        let profile = Profile::native();
        let compiled =
            Compiler::new(&profile, SourceLimits::default())?.compile(MODULE.as_bytes())?;
        Ok(format!(
            "{} of code in {}, with wasmtime {}",
            Bytes(compiled.artifact.len() as u64),
            micros(started),
            profile.engine().wasmtime
        ))
    };
    check("compiler", compile())
}

/// Checks that a worker process compiles, started as a server starts it.
pub(super) fn worker() -> Check {
    let ask = || -> Result<String> {
        let started = Instant::now();
        let program = std::env::current_exe().context("cannot find this program")?;
        let mut child = Command::new(&program)
            .arg("worker")
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start a worker")?;
        let job = CompileRequest {
            profile: Profile::native(),
            source: Cow::Borrowed(MODULE.as_bytes()),
            kind: SourceKind::Source,
            engines: Vec::new(),
        };
        let answer = match (child.stdin.take(), child.stdout.take()) {
            (Some(mut input), Some(mut output)) => write_request(&mut input, &job)
                .and_then(|()| read_response(&mut output, &ANSWER_BOUNDS, &job.engines))
                .context("the worker does not answer"),
            _ => bail!("the worker has no pipes"),
        };
        child.wait().context("the worker does not end")?;
        match answer? {
            CompileResponse::Compiled { .. } => Ok(format!(
                "{} answers in {}",
                program.display(),
                micros(started)
            )),
            CompileResponse::Engine { .. } => bail!("the worker answers another request"),
            CompileResponse::Refused(refusal) => bail!("{}: {}", refusal.code, refusal.message),
        }
    };
    check("worker", ask())
}

fn micros(started: Instant) -> Micros {
    Micros(u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX))
}

fn check(name: &'static str, finding: Result<String>) -> Check {
    Check {
        name,
        finding: match finding {
            Ok(detail) => Finding::Ok { detail },
            Err(error) => Finding::Failed {
                detail: format!("{error:#}"),
            },
        },
    }
}
