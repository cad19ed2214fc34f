//! `cargo xtask test`: all checks and tests that a change must pass, the cheapest first.
//!
//! The tests come last, so that the runner's summary is the last thing printed.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::ValueEnum;

use crate::binaries::{self, BuildProfile};
use crate::examples;

use crate::package;
use crate::run::{self, heading};
use crate::tidy;
use crate::tools::debian;
use crate::tools::guest_rustc;
use crate::tools::trixie::servers;
use crate::tools::{self, Python};
use crate::workspace::Workspace;

/// The options of `test`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Run only these steps
    #[arg(long, value_name = "STEP", value_delimiter = ',')]
    only: Vec<Step>,
    /// Skip these steps
    #[arg(long, value_name = "STEP", value_delimiter = ',')]
    skip: Vec<Step>,
    /// Check the dependencies against the RustSec advisories too, which are fetched from the
    /// network
    #[arg(long)]
    advisories: bool,
    /// Arguments for `cargo nextest run`, such as a filter
    #[arg(last = true, value_name = "NEXTEST")]
    nextest: Vec<String>,
}

/// The steps, in the order in which they run.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Step {
    /// `cargo fmt --check`
    Fmt,
    /// The house rules that need the sources alone
    Tidy,
    /// `cargo clippy`, warnings refused
    Clippy,
    /// Licences, bans and sources of the dependencies
    Deny,
    /// `cargo doc`, warnings refused
    Docs,
    /// Build the binaries that the tests start, and check that the lean ones hold no compiler
    Binaries,
    /// Build the JavaScript engine, and compare it with the committed one
    Engine,
    /// Build the example functions
    Examples,
    /// The tests of the SDKs that are not in Rust, with the runners of their languages
    Sdks,
    /// Check workflows, container files and scripts, build the packages, and try chart, formula and containers
    Packages,
    /// The examples in the documentation
    Doctests,
    /// All other tests
    Tests,
}

/// Runs the chosen steps, and stops at the first that fails.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    let chosen = |step: &Step| {
        (options.only.is_empty() || options.only.contains(step)) && !options.skip.contains(step)
    };
    let mut times: Vec<(Step, Duration)> = Vec::new();
    for step in Step::value_variants().iter().filter(|step| chosen(step)) {
        heading(name(*step));
        if *step == Step::Tests && !times.is_empty() {
            // Printed now, because the summary of the tests has to come last.
            for (done, time) in &times {
                println!("{:>10}  {:.1} s", name(*done), time.as_secs_f64());
            }
        }
        let ((), time) = run::timed(|| one(workspace, options, *step)).with_context(|| {
            format!(
                "step `{}`; run it alone with `cargo xtask test --only {0}`",
                name(*step)
            )
        })?;
        times.push((*step, time));
    }
    Ok(())
}

fn name(step: Step) -> &'static str {
    match step {
        Step::Fmt => "fmt",
        Step::Tidy => "tidy",
        Step::Clippy => "clippy",
        Step::Deny => "deny",
        Step::Docs => "docs",
        Step::Binaries => "binaries",
        Step::Engine => "engine",
        Step::Examples => "examples",
        Step::Sdks => "sdks",
        Step::Packages => "packages",
        Step::Doctests => "doctests",
        Step::Tests => "tests",
    }
}

fn one(workspace: &Workspace, options: &Options, step: Step) -> Result<()> {
    match step {
        Step::Fmt => run::run(&mut workspace.cargo(["fmt", "--all", "--check"])),
        Step::Tidy => tidy::run(workspace, &tidy::Options::sources()),
        Step::Clippy => run::run(&mut workspace.cargo([
            "clippy",
            "--workspace",
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ])),
        Step::Deny => deny(workspace, options.advisories),
        Step::Docs => {
            let mut command = workspace.cargo([
                "doc",
                "--workspace",
                "--no-deps",
                "--document-private-items",
            ]);
            run::run(command.env("RUSTDOCFLAGS", "-D warnings"))
        }
        Step::Binaries => {
            let server = binaries::server(workspace, BuildProfile::Dev)?;
            tidy::run_on_binary(workspace, &server)?;
            let module = binaries::module(workspace, BuildProfile::Dev)?;
            tidy::run_on_binary(workspace, &module)?;
            binaries::wasmc(workspace, BuildProfile::Dev).map(drop)
        }
        Step::Engine => tools::javascript::check(workspace),
        Step::Examples => examples::build(workspace).map(drop),
        Step::Sdks => sdks(workspace),
        Step::Packages => packages(workspace),
        Step::Doctests => {
            run::run(&mut workspace.cargo(["test", "--workspace", "--doc", "--quiet"]))
        }
        Step::Tests => tests(workspace, &options.nextest),
    }
}

fn deny(workspace: &Workspace, advisories: bool) -> Result<()> {
    tools::DENY.ensure(workspace)?;
    let mut command = workspace.cargo(["deny", "check", "licenses", "bans", "sources"]);
    if advisories {
        command.arg("advisories");
    }
    run::run(&mut command)
}

fn packages(workspace: &Workspace) -> Result<()> {
    if let Err(error) = Python::outlook(workspace) {
        println!(
            "note: workflows and scripts are not checked, and no packages are built: {error:#}"
        );
        return Ok(());
    }
    package::lint(workspace)?;
    package::pack_sdks(workspace)?;
    package::build(workspace, BuildProfile::Dev)?;
    package::try_out(workspace)
}

fn sdks(workspace: &Workspace) -> Result<()> {
    match Python::ensure(workspace) {
        Ok(python) => {
            for folder in ["sdk/go", "examples/go"] {
                let folder = workspace.root.join(folder);
                let mut go = python.go(workspace);
                run::run(go.args(["test", "./..."]).current_dir(&folder))?;
            }
            for folder in ["sdk/python", "examples/python", "examples/from-lua-python"] {
                let mut pytest = workspace.command(&python.interpreter);
                pytest.args(["-m", "pytest", "--quiet", "-p", "no:cacheprovider"]);
                pytest.env("PYTHONDONTWRITEBYTECODE", "1");
                run::run(pytest.current_dir(workspace.root.join(folder)))?;
            }
        }
        Err(error) => println!("note: the SDKs for Go and Python are not tested: {error:#}"),
    }
    if tools::on_path("npm").is_none() {
        println!(
            "note: the SDK for AssemblyScript is not tested: no npm on the PATH (on Debian: apt-get install npm)"
        );
        return Ok(());
    }
    let folder = workspace.root.join("sdk/assemblyscript");
    tools::npm_install(workspace, &folder)?;
    run::run(
        workspace
            .command("npm")
            .args(["test", "--silent"])
            .current_dir(&folder),
    )
}

fn tests(workspace: &Workspace, arguments: &[String]) -> Result<()> {
    tools::NEXTEST.ensure(workspace)?;
    debian::ensure(workspace)?;
    let folder = binaries::folder(workspace, BuildProfile::Dev);
    let mut environment: Vec<(&str, PathBuf)> = vec![
        ("FERRITE_SERVER_BIN", folder.join("ferrite-server")),
        ("FERRITE_WASMC_BIN", folder.join("ferrite-wasmc")),
        ("FERRITE_EXAMPLES_DIR", examples::folder(workspace)),
        ("FERRITE_PACKAGES_DIR", package::folder(workspace)),
        ("FERRITE_VALKEY_MODULE", folder.join(binaries::MODULE)),
    ];
    match Python::ensure(workspace) {
        Ok(python) => environment.extend([
            ("FERRITE_VALKEY_SERVER", python.valkey_server()?),
            ("FERRITE_PYTHON", python.interpreter),
        ]),
        Err(error) => println!("note: tests that need Valkey or Python are skipped: {error:#}"),
    }
    match guest_rustc::find(workspace) {
        Ok(rustc) => environment.push((guest_rustc::GUEST_RUSTC_VARIABLE, rustc)),
        Err(error) => println!("note: no functions in Rust can be built: {error:#}"),
    }
    for (variable, program) in [
        ("FERRITE_REDIS_SERVER", "redis-server"),
        ("FERRITE_REDIS_CLI", "redis-cli"),
        ("FERRITE_REDIS_BENCHMARK", "redis-benchmark"),
    ] {
        match tools::on_path(program) {
            Some(path) => environment.push((variable, path)),
            None => println!(
                "note: no {program} on the PATH; tests that need it are skipped (on Debian: apt-get install redis-server redis-tools)"
            ),
        }
    }
    environment.extend(servers::ensure(workspace)?);
    if tools::on_path("npm").is_some() {
        environment.push(("FERRITE_NODE_CLIENTS", node_clients(workspace)?));
    } else {
        println!("note: the clients for Node.js are not tested: no npm on the PATH");
    }
    let mut command = workspace.cargo(["nextest", "run", "--workspace"]);
    for (variable, value) in &environment {
        println!("{variable}={}", value.display());
        command.env(variable, value);
    }
    run::run(command.args(arguments))
}

/// Installs client libraries for Node.js below `target/`. Returns the folder that holds their
/// `node_modules`.
fn node_clients(workspace: &Workspace) -> Result<PathBuf> {
    let folder = workspace.target.join("clients");
    let listed = workspace.root.join("tests/clients");
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("cannot make {}", folder.display()))?;
    for file in ["package.json", "package-lock.json"] {
        std::fs::copy(listed.join(file), folder.join(file))
            .with_context(|| format!("cannot copy {file} to {}", folder.display()))?;
    }
    tools::npm_install(workspace, &folder)?;
    Ok(folder)
}
