//! Compares the whole compilation of modules with wasmtime's alone, with the same settings.
//!
//! `cargo run --release -p ferrite-benches --example compile_ratio -- FILE…` prints a table. Both take
//! turns; the ratio is that of the medians. A file in text is parsed and a component is flattened before,
//! for both.
//!
//! The files to take: the modules of all examples (below `target/examples` and `target/guests`), one in Go
//! with `net/http`, the engine of JavaScript (`target/javascript/engine.wasm`), the component of a
//! function in Python, and the kernels in `benches/functions/kernels`.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use ferrite_cache::Profile;
use ferrite_compiler::{Compiler, PreinitChoice, SourceLimits};
use wasmtime::Engine;

/// Turns of each compiler; fewer for a module that takes long.
const ROUNDS: usize = 9;

/// Time after which no further round begins.
const LONG: Duration = Duration::from_secs(30);

fn main() -> io::Result<()> {
    let profile = Profile::native();
    let failed = |error: &dyn std::fmt::Display| io::Error::other(error.to_string());
    // A start that runs at compile time is the guest's own work.
    let compiler = Compiler::new(&profile, SourceLimits::default())
        .map_err(|error| failed(&error))?
        .with_preinit(PreinitChoice::Never);
    let engine = Engine::new(&profile.compiler_config()).map_err(|error| failed(&error))?;
    let mut out = io::stdout();
    writeln!(
        out,
        "| module | KB | wasmtime, ms | compiled here, ms | ratio |"
    )?;
    writeln!(out, "|---|---|---|---|---|")?;
    for path in std::env::args_os().skip(1).map(PathBuf::from) {
        let file = std::fs::read(&path)?;
        let bounds = SourceLimits::default();
        let wasm = ferrite_compiler::to_wasm(&file, &bounds).map_err(|error| failed(&error))?;
        let wasm =
            ferrite_compiler::flatten::flatten(&wasm, &bounds).map_err(|error| failed(&error))?;
        let (mut theirs, mut ours) = (Vec::new(), Vec::new());
        let began = Instant::now();
        while theirs.len() < ROUNDS && (theirs.len() < 3 || began.elapsed() < LONG) {
            let started = Instant::now();
            engine
                .precompile_module(&wasm)
                .map_err(|error| failed(&error))?;
            theirs.push(started.elapsed());
            let started = Instant::now();
            compiler.compile(&wasm).map_err(|error| failed(&error))?;
            ours.push(started.elapsed());
        }
        let [theirs, ours] = [theirs, ours].map(|mut times| {
            times.sort_unstable();
            times[times.len() / 2].as_secs_f64() * 1e3
        });
        writeln!(
            out,
            "| `{}` | {} | {theirs:.1} | {ours:.1} | {:.2} |",
            path.file_name().unwrap_or_default().display(),
            wasm.len() / 1000,
            ours / theirs
        )?;
        out.flush()?;
    }
    Ok(())
}
