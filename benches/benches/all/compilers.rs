//! Wasmtime's compiler alone, and the whole compilation here beside it. `cargo xtask bench --only compile` runs
//! these in place of the benchmarks: so no program has to be built for them.

use std::ffi::{OsStr, OsString};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ferrite_cache::Profile;
use ferrite_compiler::{Compiler, PreinitChoice, SourceLimits};
use wasmtime::Engine;

/// Turns of each compiler; fewer for a module that takes long.
const ROUNDS: usize = 9;

/// Turns of each compiler at least.
const ROUNDS_MIN: usize = 3;

/// Time after which no further round begins.
const LONG: Duration = Duration::from_secs(30);

/// Runs one of the modes, if the first argument names it; returns false if it does not.
///
/// | arguments | what is done |
/// |---|---|
/// | `wasmtime-compile IN OUT` | compiles a module by wasmtime alone, as a process of its own |
/// | `compile-ratio FILE` | compiles a module by wasmtime and by the compiler here in turn, and prints the times |
///
/// # Errors
///
/// A file cannot be read or written, or does not compile.
pub(crate) fn run(arguments: &[OsString]) -> io::Result<bool> {
    let path = |at: usize| -> io::Result<PathBuf> {
        let missing = || io::Error::other("a path is missing");
        arguments.get(at).map(PathBuf::from).ok_or_else(missing)
    };
    match arguments.first().and_then(|mode| OsStr::to_str(mode)) {
        Some("wasmtime-compile") => wasmtime_compile(&path(1)?, &path(2)?)?,
        Some("compile-ratio") => compile_ratio(&path(1)?)?,
        _ => return Ok(false),
    }
    Ok(true)
}

/// An engine with the settings of the compiler here.
fn engine(profile: &Profile) -> io::Result<Engine> {
    Engine::new(&profile.compiler_config()).map_err(failed)
}

fn failed(error: impl std::fmt::Display) -> io::Error {
    io::Error::other(format!("{error:#}"))
}

/// Does what `wasmtime compile` does.
fn wasmtime_compile(from: &Path, to: &Path) -> io::Result<()> {
    let wasm = std::fs::read(from)?;
    let artifact = engine(&Profile::native())?
        .precompile_module(&wasm)
        .map_err(failed)?;
    std::fs::write(to, artifact)
}

/// Prints a line: the bytes of the module, the milliseconds of each turn of wasmtime, and those of the compiler
/// here. A file in text is parsed and a component is flattened before, for both.
fn compile_ratio(path: &Path) -> io::Result<()> {
    let profile = Profile::native();
    let engine = engine(&profile)?;
    let bounds = SourceLimits::default();
    // A start that runs at compile time is the guest's own work.
    let compiler = Compiler::new(&profile, bounds.clone())
        .map_err(failed)?
        .with_preinit(PreinitChoice::Never);
    let file = std::fs::read(path)?;
    let wasm = ferrite_compiler::to_wasm(&file, &bounds).map_err(failed)?;
    let wasm = ferrite_compiler::flatten::flatten(&wasm, &bounds).map_err(failed)?;
    let (mut theirs, mut ours) = (Vec::new(), Vec::new());
    let began = Instant::now();
    while theirs.len() < ROUNDS && (theirs.len() < ROUNDS_MIN || began.elapsed() < LONG) {
        let started = Instant::now();
        engine.precompile_module(&wasm).map_err(failed)?;
        theirs.push(started.elapsed());
        let started = Instant::now();
        compiler.compile(&wasm).map_err(failed)?;
        ours.push(started.elapsed());
    }
    let [theirs, ours] = [theirs, ours].map(|times| {
        let times = times
            .iter()
            .map(|time| (time.as_secs_f64() * 1e3).to_string());
        times.collect::<Vec<_>>().join(",")
    });
    writeln!(io::stdout(), "{} {theirs} {ours}", wasm.len())
}
