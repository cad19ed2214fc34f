//! Tries what runs on machines of other kinds as far as this one can: chart, formula, action, the example's workflow,
//! container files.
//!
//! The scripts in `tests/packages` do the work, with the programs of the packages that were just built.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::run;
use crate::tools::{Python, debian, guest_rustc, helm, on_path};
use crate::workspace::Workspace;

/// Programs that the trial of the container files needs beside root.
const CONTAINER_TOOLS: [&str; 4] = ["buildah", "podman", "mmdebstrap", "unshare"];

/// Tries all of them, or prints a line that says what is missing.
///
/// # Errors
/// If one does not work.
pub(crate) fn try_out(workspace: &Workspace) -> Result<()> {
    let stage = super::folder(workspace).join("stage");
    chart(workspace, &stage)?;
    formula(workspace, &stage)?;
    action(workspace)?;
    workflow(workspace, &stage)?;
    containers(workspace, &stage)
}

/// Renders the chart by Helm, with several files of values, and pushes it as the release workflow does.
fn chart(workspace: &Workspace, stage: &Path) -> Result<()> {
    let python = Python::packaging(workspace)?;
    let helm = match helm::ensure(workspace, &python) {
        Ok(helm) => helm,
        Err(error) => {
            println!("note: the chart is not tried: {error:#}");
            return Ok(());
        }
    };
    let mut check = python_script(workspace, &python, "chart.py");
    check.arg(&helm).arg("packaging/helm/ferrite");
    run::run(check.arg(stage.join("bin/ferrite-server")))?;
    let Some(registry) = debian::program(workspace, "docker-registry")? else {
        println!("note: the chart is not pushed: no docker-registry");
        return Ok(());
    };
    let mut push = python_script(workspace, &python, "chart_release.py");
    push.args([".github/workflows/release.yml", "packaging/helm/ferrite"]);
    run::run(push.arg(helm).arg(registry))
}

/// A script of `tests/packages`, in the Python that has what they import.
fn python_script(workspace: &Workspace, python: &Python, name: &str) -> Command {
    let mut script = workspace.command(&python.interpreter);
    script
        .arg(format!("tests/packages/{name}"))
        .env("PYTHONDONTWRITEBYTECODE", "1");
    script
}

/// Lets the formula install and test a program that is built already.
fn formula(workspace: &Workspace, stage: &Path) -> Result<()> {
    let Some(ruby) = on_path("ruby") else {
        println!(
            "note: the formula is not tried: no ruby on the PATH (on Debian: apt-get install ruby)"
        );
        return Ok(());
    };
    let mut check = workspace.command(ruby);
    check.args([
        "tests/packages/formula.rb",
        "packaging/homebrew/ferrite-wasmc.rb.in",
    ]);
    run::run(
        check
            .arg(env!("CARGO_PKG_VERSION"))
            .arg(stage.join("bin/ferrite-wasmc")),
    )
}

/// Runs the script of the action for workflows, with the packages in place of a release.
fn action(workspace: &Workspace) -> Result<()> {
    let python = Python::packaging(workspace)?;
    let mut check = python_script(workspace, &python, "action.py");
    check.arg(".github/actions/setup-ferrite/action.yml");
    run::run(
        check
            .arg(super::folder(workspace))
            .arg(env!("CARGO_PKG_VERSION")),
    )
}

/// Runs the example's workflow for releases of a function, with a registry on this machine.
fn workflow(workspace: &Workspace, stage: &Path) -> Result<()> {
    let Some(registry) = debian::program(workspace, "docker-registry")? else {
        println!("note: the example's workflow is not tried: no docker-registry");
        return Ok(());
    };
    let rustc = match guest_rustc::find(workspace) {
        Ok(rustc) => rustc,
        Err(error) => {
            println!("note: the example's workflow is not tried: {error:#}");
            return Ok(());
        }
    };
    let python = Python::packaging(workspace)?;
    let mut check = python_script(workspace, &python, "release.py");
    check
        .arg("examples/ci/release.yml")
        .arg(stage.join("bin/ferrite-wasmc"))
        .arg(registry)
        .arg(env!("CARGO_PKG_VERSION"))
        .env(guest_rustc::GUEST_RUSTC_VARIABLE, rustc);
    run::run(&mut check)
}

/// Builds the images of the container files and runs them.
fn containers(workspace: &Workspace, stage: &Path) -> Result<()> {
    let missing: Vec<_> = CONTAINER_TOOLS
        .into_iter()
        .filter(|tool| on_path(tool).is_none())
        .collect();
    if !missing.is_empty() || !rustix::process::geteuid().is_root() {
        println!(
            "note: the container files are not built and run: this needs root and {} (on Debian: \
             apt-get install buildah crun mmdebstrap podman)",
            CONTAINER_TOOLS.join(", ")
        );
        return Ok(());
    }
    let valkey = Python::ensure(workspace)?.valkey_server()?;
    let programs = stage.join("programs");
    std::fs::create_dir_all(&programs)?;
    let files = [
        "bin/ferrite-server",
        "bin/ferrite-wasmc",
        "lib/libferrite_valkey.so",
    ];
    for file in files.map(|file| stage.join(file)) {
        let name = file.file_name().unwrap_or_default();
        std::fs::copy(&file, programs.join(name))
            .with_context(|| format!("cannot copy {}", file.display()))?;
    }
    let mut build = workspace.command("unshare");
    build.args(["--mount", "bash", "tests/packages/containers.sh"]);
    build.arg(&workspace.root).arg(programs).arg(valkey);
    run::run(build.arg(workspace.target.join("containers")))
}
