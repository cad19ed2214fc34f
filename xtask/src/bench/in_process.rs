//! The benchmarks in `benches/`, Extism's among them: runs criterion and reads its figures.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::examples;
use crate::run;
use crate::workspace::Workspace;

/// Times for criterion, which make the whole part last some minutes: seconds before each benchmark, and of it.
const TIMES: [&str; 4] = ["--warm-up-time", "1", "--measurement-time", "2"];

/// The figures of this part.
#[derive(Serialize, Deserialize)]
pub(super) struct InProcess {
    pub(super) rows: Vec<Row>,
}

/// One benchmark.
#[derive(Serialize, Deserialize)]
pub(super) struct Row {
    /// Its group and name, as given to criterion.
    pub(super) name: String,
    /// The median of criterion's samples, and its interval with 95 % confidence.
    pub(super) nanoseconds: f64,
    pub(super) low: f64,
    pub(super) high: f64,
}

/// # Errors
/// If the benchmarks do not build or run.
pub(super) fn measure(workspace: &Workspace) -> Result<InProcess> {
    let mut folders = run_criterion(workspace, &TIMES)?;
    folders.extend(run_extism(workspace)?);
    let mut rows = Vec::new();
    for folder in folders {
        rows.push(read(&folder)?);
    }
    rows.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(InProcess { rows })
}

/// Returns each benchmark whose name matches `pattern`, a regular expression, with its shortest time for one call, in
/// nanoseconds. The runs are short, but long enough for a minimum.
///
/// # Errors
/// If the benchmarks do not build or run.
pub(super) fn measure_matching(workspace: &Workspace, pattern: &str) -> Result<Vec<(Row, f64)>> {
    let arguments = [
        "--warm-up-time",
        "0.5",
        "--measurement-time",
        "2",
        "--noplot",
        pattern,
    ];
    let mut found = Vec::new();
    for folder in run_criterion(workspace, &arguments)? {
        found.push((read(&folder)?, minimum(&folder)?));
    }
    found.sort_by(|(a, _), (b, _)| a.name.cmp(&b.name));
    Ok(found)
}

/// Builds the functions in Python that some benchmarks call.
///
/// # Errors
/// If they do not build.
fn build_python(workspace: &Workspace) -> Result<()> {
    let wasm = workspace.target.join("bench/languages.wasm");
    let folder = workspace.root.join("benches/functions/languages");
    std::fs::create_dir_all(workspace.target.join("bench"))?;
    if !examples::build_python(workspace, &folder, &wasm)? {
        println!("note: Python takes no part");
    }
    Ok(())
}

/// Runs the benchmarks with these arguments for criterion; returns the folders of their results.
fn run_criterion(workspace: &Workspace, arguments: &[&str]) -> Result<Vec<PathBuf>> {
    build_python(workspace)?;
    let results = workspace.target.join("criterion");
    super::empty(&results)?;
    let mut command = workspace.cargo([
        "bench",
        "--package",
        "ferrite-benches",
        "--benches",
        "--",
        "--quiet",
    ]);
    run::run(command.args(arguments))?;
    let folders = finished(&results)?;
    if folders.is_empty() {
        bail!("the benchmarks left no figures in {}", results.display());
    }
    Ok(folders)
}

/// Runs the calls in Extism, which are built apart; returns the folders of their results.
fn run_extism(workspace: &Workspace) -> Result<Vec<PathBuf>> {
    let target = workspace.target.join("extism");
    let results = target.join("criterion");
    super::empty(&results)?;
    let mut command = workspace.cargo([
        "run",
        "--release",
        "--manifest-path",
        "benches/extism/Cargo.toml",
        "--target-dir",
    ]);
    command.arg(&target).args(["--", "--bench", "--quiet"]);
    command.args(TIMES);
    run::run(command.env("CRITERION_HOME", &results))?;
    finished(&results)
}

/// Returns the folders `new` that criterion left below `folder`, at any depth.
fn finished(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let entries =
        std::fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.join("estimates.json").is_file() && path.ends_with("new") {
            found.push(path);
        } else if path.is_dir() {
            found.extend(finished(&path)?);
        }
    }
    Ok(found)
}

/// The shortest time for one iteration among the samples in a folder of criterion.
fn minimum(folder: &Path) -> Result<f64> {
    #[derive(Deserialize)]
    struct Sample {
        iters: Vec<f64>,
        times: Vec<f64>,
    }
    let Sample { iters, times } = parse(&folder.join("sample.json"))?;
    let each = times.iter().zip(&iters).map(|(time, iters)| time / iters);
    Ok(each.fold(f64::INFINITY, f64::min))
}

fn parse<T: for<'a> Deserialize<'a>>(path: &Path) -> Result<T> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("cannot understand {}", path.display()))
}

fn read(folder: &Path) -> Result<Row> {
    #[derive(Deserialize)]
    struct Benchmark {
        full_id: String,
    }
    #[derive(Deserialize)]
    struct Estimates {
        median: Estimate,
    }
    #[derive(Deserialize)]
    struct Estimate {
        point_estimate: f64,
        confidence_interval: Interval,
    }
    #[derive(Deserialize)]
    struct Interval {
        lower_bound: f64,
        upper_bound: f64,
    }
    let Benchmark { full_id: name } = parse(&folder.join("benchmark.json"))?;
    let Estimates { median } = parse(&folder.join("estimates.json"))?;
    let Interval {
        lower_bound: low,
        upper_bound: high,
    } = median.confidence_interval;
    Ok(Row {
        name,
        nanoseconds: median.point_estimate,
        low,
        high,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_from_where_criterion_leaves_them() {
        let folder = tempfile::tempdir().unwrap();
        let leave = |path: &str, text: &str| {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        let estimates = r#"{"median":{"point_estimate":15.5,"standard_error":1,"confidence_interval":{"confidence_level":0.95,"lower_bound":15.0,"upper_bound":16.0}}}"#;
        for state in ["new", "base"] {
            leave(&format!("call/warm/{state}/estimates.json"), estimates);
            leave(
                &format!("call/warm/{state}/benchmark.json"),
                r#"{"full_id":"call/warm"}"#,
            );
        }
        leave("call/report/index.html", "");
        leave(
            "call/warm/new/sample.json",
            r#"{"sampling_mode":"Linear","iters":[10,20],"times":[150,280]}"#,
        );
        let found = finished(folder.path()).unwrap();
        assert_eq!(found, [folder.path().join("call/warm/new")]);
        let row = read(&found[0]).unwrap();
        assert_eq!(
            (row.name.as_str(), row.nanoseconds, row.low, row.high),
            ("call/warm", 15.5, 15.0, 16.0)
        );
        assert!((minimum(&found[0]).unwrap() - 14.0).abs() < f64::EPSILON);
    }
}
