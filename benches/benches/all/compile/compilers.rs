//! Wasmtime's compiler alone, and the whole compilation here beside it. `cargo xtask bench --only compile` runs
//! these in place of the benchmarks: so no program has to be built for them.

use std::ffi::{OsStr, OsString};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ferrite_cache::{JavaScript, Profile};
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
/// | `compile-ratio FILE` | compiles a module by wasmtime and by the compiler here in turn, and prints times and processor times |
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

/// Times of one compiler's turns, in milliseconds: by the clock, and of processors.
#[derive(Default)]
struct Turns {
    times: Vec<f64>,
    processor: Vec<f64>,
}

impl Turns {
    /// Measures one turn.
    fn measure<T, E: std::fmt::Display>(
        &mut self,
        turn: impl FnOnce() -> Result<T, E>,
    ) -> io::Result<()> {
        let (started, before) = (Instant::now(), processor_time()?);
        turn().map_err(failed)?;
        self.times.push(started.elapsed().as_secs_f64() * 1e3);
        let taken = processor_time()?.saturating_sub(before);
        self.processor.push(taken.as_secs_f64() * 1e3);
        Ok(())
    }
}

/// The processor time of all threads of this process.
fn processor_time() -> io::Result<Duration> {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let whole = u64::try_from(now.tv_sec).map_err(failed)?;
    let rest = u32::try_from(now.tv_nsec).map_err(failed)?;
    Ok(Duration::new(whole, rest))
}

/// Prints a line: the bytes of the module, then the milliseconds of each turn of wasmtime and of the compiler here
/// by the clock, those of both in processor time, and the processor time of wasmtime for the module with the meter in
/// it. Each has a turn before that, which does not count.
///
/// A file in text is parsed, a program in JavaScript evaluated and a component flattened before, for both.
fn compile_ratio(path: &Path) -> io::Result<()> {
    let profile = Profile::native();
    let engine = engine(&profile)?;
    let bounds = SourceLimits::default();
    // A start that runs at compile time is the guest's own work.
    let compiler = Compiler::new(&profile, bounds.clone())
        .map_err(failed)?
        .with_preinit(PreinitChoice::Never);
    let source = source(path)?;
    let wasm = ferrite_compiler::to_wasm(&source, &bounds).map_err(failed)?;
    let wasm = ferrite_compiler::flatten::flatten(&wasm, &bounds).map_err(failed)?;
    let metered = ferrite_compiler::meter::meter(&wasm).map_err(failed)?.wasm;
    engine.precompile_module(&wasm).map_err(failed)?;
    engine.precompile_module(&metered).map_err(failed)?;
    compiler.compile(&wasm).map_err(failed)?;
    let [mut theirs, mut ours, mut with_meter] = [(); 3].map(|()| Turns::default());
    let began = Instant::now();
    while ours.times.len() < ROUNDS && (ours.times.len() < ROUNDS_MIN || began.elapsed() < LONG) {
        theirs.measure(|| engine.precompile_module(&wasm))?;
        ours.measure(|| compiler.compile(&wasm))?;
        with_meter.measure(|| engine.precompile_module(&metered))?;
    }
    let lists = [
        theirs.times,
        ours.times,
        theirs.processor,
        ours.processor,
        with_meter.processor,
    ]
    .map(|times| {
        let times = times.iter().map(f64::to_string);
        times.collect::<Vec<_>>().join(",")
    });
    writeln!(io::stdout(), "{} {}", wasm.len(), lists.join(" "))
}

/// Reads a source as the compiler takes it.
fn source(path: &Path) -> io::Result<Vec<u8>> {
    let source = std::fs::read(path)?;
    if path.extension() != Some(OsStr::new("js")) {
        return Ok(source);
    }
    let program = JavaScript {
        name: "program.js",
        positions: &[],
        source: &source,
    };
    Ok(program.encode())
}
