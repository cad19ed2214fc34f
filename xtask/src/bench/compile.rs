//! Compiling through the command line, and within one process, compared with wasmtime's compiler alone.
//!
//! Wasmtime's part is played by the binary of the benchmarks, which has the version of wasmtime that the compiler
//! has, and takes the same settings. It does all that `wasmtime compile` does.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use ferrite_benches::modules::{Size, generated};
use serde::{Deserialize, Serialize};

use super::figures::Figures;
use crate::binaries::{self, BuildProfile};
use crate::examples;
use crate::run;
use crate::wasmc;
use crate::workspace::Workspace;

/// Number of turns of each compiler.
const ROUNDS: usize = 7;

/// The folder with modules to compile within one process, in text, beside the examples.
const KERNELS: &str = "benches/functions/kernels";

/// The figures of this part.
#[derive(Serialize, Deserialize)]
pub(super) struct Compile {
    pub(super) rows: Vec<Row>,
    /// Compilations within one process.
    pub(super) within: Vec<Within>,
}

/// A module of Go with `net/http` in it, whose linker stops at 100,000 data segments.
const GO_WITH_HTTP: &str = "benches/functions/go_http";

/// Figures of one module; times of whole processes, in milliseconds.
#[derive(Serialize, Deserialize)]
pub(super) struct Row {
    pub(super) module: String,
    pub(super) source_bytes: u64,
    /// Compiling into an empty cache, publishing included.
    pub(super) ours: Figures,
    /// Compiling again, with the artifact in the cache.
    pub(super) cached: Figures,
    /// Wasmtime alone.
    pub(super) wasmtimes: Figures,
}

/// Figures of one module, compiled in one process by both in turn, in milliseconds.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Within {
    pub(super) module: String,
    /// Bytes of the module, of a component once it is flattened.
    pub(super) bytes: u64,
    pub(super) wasmtimes: Figures,
    pub(super) ours: Figures,
    /// Of all processors, which other work on the machine changes little.
    pub(super) wasmtimes_processor: Figures,
    pub(super) ours_processor: Figures,
    /// Wasmtime's, for the module with the meter in it.
    pub(super) metered_processor: Figures,
}

impl Within {
    /// Ratio of the processor time of the compiler here to that of wasmtime's, turn by turn.
    pub(super) fn ratio(&self) -> Figures {
        self.ours_processor.over(&self.wasmtimes_processor)
    }
}

/// # Errors
/// If something does not build or a module is refused.
pub(super) fn measure(workspace: &Workspace, profile: BuildProfile) -> Result<Compile> {
    let peer = benchmarks(workspace)?;
    let wasmc = binaries::wasmc(workspace, profile)?;
    let mut modules: Vec<_> = examples::build(workspace)?
        .into_iter()
        .map(|example| (example.name, example.source))
        .collect();
    let rows = whole_processes(workspace, &wasmc, &peer, &modules)?;
    let with_http = folder(workspace)?.join("go_http.wasm");
    if examples::build_go_module(workspace, &workspace.root.join(GO_WITH_HTTP), &with_http)? {
        modules.push(("go_http".to_owned(), with_http));
    }
    Ok(Compile {
        rows,
        within: within_one_process(workspace, &peer, modules)?,
    })
}

/// The folder of what is compiled and measured.
fn folder(workspace: &Workspace) -> Result<PathBuf> {
    let folder = workspace.target.join("bench/compile");
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(folder)
}

fn whole_processes(
    workspace: &Workspace,
    wasmc: &Path,
    peer: &Path,
    examples: &[(String, PathBuf)],
) -> Result<Vec<Row>> {
    let folder = folder(workspace)?;
    let mut modules = Vec::new();
    for size in Size::ALL {
        let file = folder.join(size.name()).with_extension("wasm");
        std::fs::write(&file, generated(size, 0))?;
        modules.push((format!("generated, {}", size.name()), file));
    }
    modules.extend(
        examples
            .iter()
            .filter(|(name, _)| name == "json_patch")
            .cloned(),
    );
    let cache = folder.join("cache");
    let mut rows = Vec::new();
    for (module, file) in modules {
        let source_bytes = std::fs::metadata(&file)?.len();
        let (mut ours, mut cached, mut wasmtimes) = (Vec::new(), Vec::new(), Vec::new());
        let compile =
            || wasmc::compile_command(workspace, wasmc, &cache, std::slice::from_ref(&file));
        let wasmtime = || {
            let mut command = workspace.command(peer);
            command.arg("wasmtime-compile").arg(&file);
            command.arg(folder.join("wasmtime.cwasm"));
            command
        };
        // First runs, so that no measured run pays for reading a program from disk.
        quietly(&mut compile())?;
        quietly(&mut wasmtime())?;
        for _ in 0..ROUNDS {
            clear(&cache)?;
            ours.push(quietly(&mut compile())?);
            cached.push(quietly(&mut compile())?);
            wasmtimes.push(quietly(&mut wasmtime())?);
        }
        let row = Row {
            module,
            source_bytes,
            ours: Figures::milliseconds(ours),
            cached: Figures::milliseconds(cached),
            wasmtimes: Figures::milliseconds(wasmtimes),
        };
        println!(
            "{}: {:.1} ms, cached {:.1} ms, wasmtime {:.1} ms",
            row.module,
            row.ours.median(),
            row.cached.median(),
            row.wasmtimes.median()
        );
        rows.push(row);
    }
    Ok(rows)
}

fn within_one_process(
    workspace: &Workspace,
    peer: &Path,
    mut modules: Vec<(String, PathBuf)>,
) -> Result<Vec<Within>> {
    let mut kernels = Vec::new();
    find(&workspace.root.join(KERNELS), "wat", &mut kernels)?;
    kernels.sort();
    anyhow::ensure!(!kernels.is_empty(), "there is no kernel in {KERNELS}");
    modules.extend(kernels);
    let mut within = Vec::new();
    for (module, file) in modules {
        let mut command = workspace.command(peer);
        let printed = run::output(command.arg("compile-ratio").arg(&file))
            .with_context(|| format!("{} does not compile", file.display()))?;
        let row = Within::read(module, &printed)?;
        println!(
            "{}: {:.2} of wasmtime's processor time",
            row.module,
            row.ratio().median()
        );
        within.push(row);
    }
    Ok(within)
}

impl Within {
    /// Reads the line that the benchmarks' binary prints.
    fn read(module: String, line: &str) -> Result<Self> {
        let unknown = || anyhow!("the benchmarks printed {line:?} for {module}");
        let times = |text: &str| -> Option<Figures> {
            text.split(',')
                .map(|time| time.parse::<f64>().ok())
                .collect()
        };
        let words: Vec<&str> = line.split_whitespace().collect();
        let [bytes, lists @ ..] = &words[..] else {
            return Err(unknown());
        };
        let lists: Option<Vec<Figures>> = lists.iter().map(|list| times(list)).collect();
        let lists: Option<[Figures; 5]> = lists.and_then(|lists| lists.try_into().ok());
        let [
            wasmtimes,
            ours,
            wasmtimes_processor,
            ours_processor,
            metered_processor,
        ] = lists.ok_or_else(unknown)?;
        Ok(Self {
            bytes: bytes.parse().ok().ok_or_else(unknown)?,
            wasmtimes,
            ours,
            wasmtimes_processor,
            ours_processor,
            metered_processor,
            module,
        })
    }
}

/// Finds files with this extension, at any depth; none if there is no such folder.
fn find(folder: &Path, extension: &str, found: &mut Vec<(String, PathBuf)>) -> Result<()> {
    if !folder.is_dir() {
        return Ok(());
    }
    let entries =
        std::fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            find(&path, extension, found)?;
        } else if path.extension().is_some_and(|one| one == extension) {
            let name = path.file_stem().unwrap_or_default().to_string_lossy();
            found.push((name.into_owned(), path));
        }
    }
    Ok(())
}

/// Builds the benchmarks and returns the path of their binary.
fn benchmarks(workspace: &Workspace) -> Result<PathBuf> {
    let mut build = workspace.cargo(["bench", "--package", "ferrite-benches", "--bench", "all"]);
    let messages = run::output(build.args(["--no-run", "--message-format", "json"]))?;
    messages
        .lines()
        .find_map(executable)
        .context("cargo did not say where the benchmarks' binary is")
}

/// Returns the binary of the benchmarks, if a message of cargo is about it.
fn executable(message: &str) -> Option<PathBuf> {
    #[derive(Deserialize)]
    struct Message {
        executable: Option<PathBuf>,
        target: Target,
    }
    #[derive(Deserialize)]
    struct Target {
        kind: Vec<String>,
    }
    let Message { executable, target } = serde_json::from_str(message).ok()?;
    executable.filter(|_| target.kind == ["bench"])
}

/// Removes every file in a cache. Its folders stay, as in a cache that is in use.
fn clear(folder: &Path) -> Result<()> {
    let entries =
        std::fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            clear(&entry.path())?;
        } else {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn quietly(command: &mut Command) -> Result<Duration> {
    let (printed, time) = run::timed(|| run::output(command))?;
    drop(printed);
    Ok(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_the_benchmarks_are_read() {
        let read = |line| Within::read("m".to_owned(), line);
        let row = read("1234 1.5,2 3,4.25 2,2 4,5 3,3\n").unwrap();
        assert_eq!((row.bytes, row.wasmtimes.count()), (1234, 2));
        assert!((row.ours.over(&row.wasmtimes).high() - 2.125).abs() < f64::EPSILON);
        assert!((row.ratio().high() - 2.5).abs() < f64::EPSILON);
        for wrong in [
            "",
            "1 1.5",
            "1 1 x 1 1 1",
            "x 1 2 3 4 5",
            "1 2 3 4 5",
            "1 2 3 4 5 6 7",
        ] {
            let error = read(wrong).unwrap_err().to_string();
            assert!(error.contains("for m"), "{error}");
        }
    }

    #[test]
    fn the_binary_is_found_among_messages() {
        let message = |kind: &str| {
            format!(
                r#"{{"reason":"compiler-artifact","target":{{"kind":["{kind}"]}},"executable":"/t/all"}}"#
            )
        };
        assert_eq!(executable(&message("bench")), Some("/t/all".into()));
        assert_eq!(executable(&message("custom-build")), None);
        assert_eq!(executable(r#"{"reason":"build-finished"}"#), None);
    }
}
