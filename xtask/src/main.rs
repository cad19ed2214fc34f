//! `cargo xtask`: set-up, checks, tests, demo and benchmarks of the workspace.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a task talks to the terminal it was started from"
)]

mod bench;
mod binaries;
mod cross;
mod demo;
mod examples;
mod hardening;
mod package;
mod redis_cli;
mod run;
mod server;
mod test;
mod tidy;
mod tools;
mod wasmc;
mod workspace;

use std::process::ExitCode;

use bench::instructions::without_auxv;
use clap::{Parser, Subcommand};
use hardening::{sanitize, soak};
use workspace::Workspace;

/// Set-up, checks, tests, demo and benchmarks of the workspace.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Check the house rules: who imports whom, leanness, file heads, unsafe places, links
    Tidy(tidy::Options),
    /// Install what the tests need, then run every check and test, stopping at the first failure
    Test(test::Options),
    /// Show the whole way of a function: compile, load, call
    Demo(demo::Options),
    /// Measure it beside its peers, and write docs/benchmarks.md
    Bench(bench::Options),
    /// Put a server under everything at once for an hour, and watch what it uses
    Soak(soak::Options),
    /// Run the tests of the crates with unsafe code under a sanitizer of the compiler
    Sanitize(sanitize::Options),
    /// Build the example functions into target/examples/*.wasm
    Examples(examples::Options),
    /// Build the programs for Linux on arm64, and run tests of them in an emulator
    Cross(cross::Options),
    /// Build the JavaScript engine, compiler/javascript/engine.wasm.zz, from its sources
    Engine(tools::javascript::Options),
    /// Build packages for Debian and an archive with an installer into target/packages
    Package(package::Options),
    /// Become a program that cannot ask for its auxiliary vector, so that valgrind can run it
    #[command(hide = true)]
    WithoutAuxv(without_auxv::Options),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = Workspace::find().and_then(|workspace| match arguments.task {
        Task::Tidy(options) => tidy::run(&workspace, &options),
        Task::Test(options) => test::run(&workspace, &options),
        Task::Demo(options) => demo::run(&workspace, &options),
        Task::Bench(options) => bench::run(&workspace, &options),
        Task::Soak(options) => soak::run(&workspace, &options),
        Task::Sanitize(options) => sanitize::run(&workspace, &options),
        Task::Examples(options) => examples::run(&workspace, &options),
        Task::Cross(options) => cross::run(&workspace, &options),
        Task::Engine(options) => tools::javascript::run(&workspace, &options),
        Task::Package(options) => package::run(&workspace, &options),
        Task::WithoutAuxv(options) => without_auxv::run(&options),
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
