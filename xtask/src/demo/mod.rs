//! `cargo xtask demo`: the whole life of a function, shown with real ones.
//!
//! Gets the compilers of the examples, builds the two binaries and the examples, compiles the
//! examples ahead of time, starts a server on an empty store, loads the functions by their digests
//! and calls them. Shows every command with
//! its reply, as `redis-cli` does, and with the time that it took.

mod script;
mod warm;

use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use ferrite_tests::{Client, Reply};

use crate::binaries::{self, BuildProfile};
use crate::examples::{self, Background, Function};
use crate::redis_cli;
use crate::run::{self, heading};
use crate::server::{Server, free_port};
use crate::tools::guest_rustc::GUEST_RUSTC_VARIABLE;
use crate::wasmc;
use crate::workspace::Workspace;

/// The options of `demo`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// End after the tour instead of leaving the server up
    #[arg(long)]
    exit: bool,
    /// The profile to build the binaries with
    #[arg(long, value_enum, default_value_t = BuildProfile::Demo)]
    profile: BuildProfile,
    /// The port to listen on; without it, any that is free
    #[arg(long)]
    port: Option<u16>,
}

/// Runs the demo.
///
/// # Errors
/// If something does not build or start, or a command gets an error that the demo does not expect.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    heading("Look for what the examples need");
    examples::announce(workspace)?;

    heading("Build the server and the compiler, and the example functions beside them");
    if let Some(estimate) = first_build(workspace, options.profile) {
        println!("{estimate}");
    }
    let examples = Background::start(workspace)?;
    let (server_binary, wasmc) = binaries::server_and_wasmc(workspace, options.profile)?;
    heading("The example functions");
    let mut functions = examples.finish()?;
    functions.retain(|function| !function.needs_operator());
    let folder = empty_folder(workspace)?;

    heading("Compile the functions ahead of time, into the cache");
    let compiled = compile(workspace, &wasmc, &folder, &functions)?;

    heading("Start the server on an empty store");
    let port = options.port.map_or_else(free_port, Ok)?;
    let mut command = workspace.command(&server_binary);
    command
        .arg("--port")
        .arg(port.to_string())
        .arg("--dir")
        .arg(&folder);
    let (server, time) =
        run::timed(|| Server::start(&mut command, port, &folder.join("server.log")))?;
    let shown = workspace.shown(&server_binary).display();
    println!(
        "{shown} answers on port {port}, {} after its start",
        milliseconds(time)
    );
    let mut client = server.client();

    heading("Load them by digest: found in the cache, verified, mapped");
    for function in &compiled {
        let mut load = vec![
            "WASM.LOAD".to_owned(),
            function.name.clone(),
            function.digest.clone(),
        ];
        if let Some(permissions) = &function.permissions {
            load.extend(["PERMISSIONS".to_owned(), permissions.clone()]);
        }
        show(&mut client, &load)?;
    }

    heading("Call them");
    for command in script::COMMANDS
        .iter()
        .filter(|command| script::can_run(command, &compiled))
    {
        show(&mut client, command)?;
    }

    heading("What it costs");
    warm::measure(&mut client, &compiled)?;

    if options.exit {
        return server.stop();
    }
    heading("Go on");
    println!("The server stays up until Ctrl-C. In another terminal:\n");
    println!("  redis-cli -p {port} WASM.LIST");
    println!("  redis-cli -p {port} WASM.CALL rate_limit KEYS ratelimit:me ARGS 3 60");
    println!("  redis-cli -p {port} FCALL rate_limit 1 ratelimit:me 3 60");
    println!("\nFor a function of your own, with a server of its own or this one:\n");
    for (variable, value) in own_environment(workspace, &wasmc) {
        println!("  export {variable}={value}");
    }
    println!("  ferrite-wasmc new limits --lang rust && cd limits && ferrite-wasmc test");
    println!("  ferrite-wasmc deploy --server redis://127.0.0.1:{port}");
    println!(
        "\nIts log is {}, the functions' sources are in examples/.",
        workspace.shown(&server.log).display()
    );
    wait_for_interrupt()?;
    server.stop()
}

/// Variables with which the programs, and the compiler for functions in Rust, are found from any folder.
fn own_environment(workspace: &Workspace, wasmc: &Path) -> Vec<(&'static str, String)> {
    let folder = wasmc.parent().unwrap_or(&workspace.root).display();
    let mut variables = vec![("PATH", format!("{folder}:$PATH"))];
    let made = workspace.target.join("guest-rust/bin/rustc");
    if made.is_file() {
        variables.push((GUEST_RUSTC_VARIABLE, made.display().to_string()));
    }
    variables
}

/// Time that the two binaries, and the examples beside them, take to build when there is nothing yet, in
/// minutes of one core. Measured on the machine of docs/benchmarks.md.
const BUILD_CORE_MINUTES: f64 = 13.0;

/// The line that says how long a first build takes; nothing if there was one.
fn first_build(workspace: &Workspace, profile: BuildProfile) -> Option<String> {
    if binaries::folder(workspace, profile).exists() {
        return None;
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    #[expect(clippy::cast_precision_loss, reason = "a number of cores")]
    let minutes = (BUILD_CORE_MINUTES / cores as f64).ceil();
    Some(format!(
        "The first build takes about {minutes} minutes on {cores} cores; a later one takes seconds."
    ))
}

/// A compiled function, and how to load it.
struct Compiled {
    name: String,
    digest: String,
    /// The text of its permissions.
    permissions: Option<String>,
}

/// An empty folder for the cache and the data, so that each tour starts from nothing.
fn empty_folder(workspace: &Workspace) -> Result<PathBuf> {
    let folder = workspace.target.join("demo-data");
    if folder.exists() {
        std::fs::remove_dir_all(&folder)
            .with_context(|| format!("cannot empty {}", folder.display()))?;
    }
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(folder)
}

fn compile(
    workspace: &Workspace,
    wasmc: &Path,
    folder: &Path,
    functions: &[Function],
) -> Result<Vec<Compiled>> {
    let cache = folder.join("cache/wasm");
    let files: Vec<_> = functions
        .iter()
        .map(|function| function.source.clone())
        .collect();
    run::run(&mut wasmc::compile_command(
        workspace, wasmc, &cache, &files,
    ))?;
    // Compiles again to get output for a program; everything is in the cache now.
    let compiled = wasmc::compile(workspace, wasmc, &cache, &files)?;
    functions
        .iter()
        .zip(compiled)
        .map(|(function, compiled)| {
            let permissions = function
                .permissions
                .as_deref()
                .map(permissions)
                .transpose()?;
            Ok(Compiled {
                name: function.name.clone(),
                digest: compiled.source,
                permissions,
            })
        })
        .collect()
}

/// The text of a file of permissions, on one line.
fn permissions(path: &Path) -> Result<String> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let value: serde_json::Value =
        serde_json::from_str(&text).with_context(|| format!("{} is no JSON", path.display()))?;
    Ok(value.to_string())
}

/// Runs a command, and shows it with its reply and its time.
fn show<A: AsRef<str>>(client: &mut Client, command: &[A]) -> Result<()> {
    let command: Vec<&str> = command.iter().map(AsRef::as_ref).collect();
    let start = Instant::now();
    let reply = client.call(&command);
    let time = start.elapsed();
    println!("> {}", redis_cli::command(&command));
    println!("{}   ({})", redis_cli::reply(&reply), milliseconds(time));
    if let Reply::Error(error) = reply
        && !script::SHOWN_ERRORS
            .iter()
            .any(|code| error.starts_with(code))
    {
        bail!("the server refused what should work");
    }
    Ok(())
}

fn milliseconds(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1e3)
}

fn wait_for_interrupt() -> Result<()> {
    let (interrupted, wait) = mpsc::channel();
    ctrlc::set_handler(move || {
        // The receiver is dropped only once the demo has ended.
        let _ = interrupted.send(());
    })
    .context("cannot wait for Ctrl-C")?;
    wait.recv().context("nothing can interrupt this any more")?;
    println!();
    Ok(())
}
