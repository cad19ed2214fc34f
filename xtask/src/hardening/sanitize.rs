//! `cargo xtask sanitize`: the tests of the crates with unsafe code, under the compiler's address or thread
//! sanitizer.
//!
//! A stable compiler takes the flag with `RUSTC_BOOTSTRAP=1`, and its runtimes come with it. The thread sanitizer sees
//! the locks of the standard library only if that is instrumented, too, so it is built with the tests, from the sources
//! of a compiler that has them. The address sanitizer leaves it as it comes, unless `--build-std` is given. Everything
//! is built into `target/sanitize/`, for a named target, so that macros and build scripts are not instrumented.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use crate::run::{self, heading};
use crate::tools::guest_rustc;
use crate::workspace::{Target, Workspace};

/// Options of `cargo xtask sanitize`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Crates whose tests are run, without their prefix `ferrite-`; all that have unsafe code, if none is named
    crates: Vec<String>,
    /// Kind of faults that are looked for
    #[arg(long, value_enum, default_value_t = Sanitizer::Address)]
    sanitizer: Sanitizer,
    /// Build the standard library with the address sanitizer, too; the thread sanitizer always does
    #[arg(long)]
    build_std: bool,
    /// Only build the tests
    #[arg(long)]
    no_run: bool,
    /// Arguments for the test programs, such as a filter
    #[arg(last = true)]
    arguments: Vec<String>,
}

/// A sanitizer of the compiler.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Sanitizer {
    /// Reads and writes outside of what is allocated, and memory that nobody frees
    Address,
    /// Races between threads
    Thread,
}

impl Sanitizer {
    fn name(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::Thread => "thread",
        }
    }
}

/// The target, which is named so that flags do not reach macros and build scripts.
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Crates whose tests are run: those with unsafe code, and those that read what others have sent.
const TESTED: [&str; 7] = [
    "protocol", "store", "cache", "server", "valkey", "runtime", "compiler",
];

/// Tests that are left out, each with the reason.
const LEFT_OUT: [(&str, &str); 5] = [
    (
        "allocations::",
        "it lets allocations fail, which the sanitizer makes itself",
    ),
    (
        "live_memory::",
        "it counts allocations, which the sanitizer makes itself",
    ),
    (
        "neither_mappings_nor_memory_rise_with_the_calls",
        "it measures the process, with what the sanitizer maps",
    ),
    (
        "thousands_of_instances_are_small",
        "it measures the process, with what the sanitizer maps",
    ),
    (
        "mappings_stay_bounded",
        "it measures the process, with what the sanitizer maps",
    ),
];

/// Has `rustix` call the kernel by the C library, whose calls the thread sanitizer sees. It does not see raw ones: where a
/// stack of an engine's call is unmapped and another is mapped at the same place, it would report a race.
const BY_LIBC: &str = " --cfg=rustix_use_libc";

/// Options of both. The engine handles the faults of guests by signals.
const SIGNALS: &str = "handle_segv=0:handle_sigbus=0:handle_sigill=0:handle_sigfpe=0:\
    allow_user_segv_handler=1";

/// Options of the address sanitizer. The engine runs some calls on stacks of its own.
const ADDRESS_OPTIONS: &str = "detect_stack_use_after_return=0:detect_leaks=1";

/// Options of the thread sanitizer: it remembers more of what each thread did, so that it can show both sides of a race.
/// The engine's handler allocates when it turns a fault of a guest into an error, where no allocation was interrupted.
const THREAD_OPTIONS: &str = "history_size=4:report_signal_unsafe=0";

/// Cargo's message about a program that it has built.
#[derive(Deserialize)]
struct Built {
    manifest_path: PathBuf,
    target: Target,
    executable: Option<PathBuf>,
}

/// Builds the tests and runs them, one program after the other.
///
/// # Errors
/// If a crate is not known, does not build, or a test fails.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    let chosen = chosen(&options.crates)?;
    let mut failed = Vec::new();
    heading("Build the tests");
    let programs = build(workspace, options, &chosen)?;
    if options.no_run {
        return Ok(());
    }
    for (name, reason) in LEFT_OUT {
        println!("left out: {name} ({reason})");
    }
    for name in chosen {
        let package = workspace
            .packages
            .iter()
            .find(|package| package.name == full(name));
        let Some(package) = package else {
            bail!("the workspace has no package {}", full(name));
        };
        for built in programs
            .iter()
            .filter(|built| built.manifest_path == package.manifest_path)
        {
            let Some(program) = &built.executable else {
                continue;
            };
            heading(&format!("{name}: {}", built.target.name));
            let start = Instant::now();
            let mut test = workspace.command(program);
            if let Some(folder) = package.manifest_path.parent() {
                test.current_dir(folder);
            }
            test.env("ASAN_OPTIONS", format!("{SIGNALS}:{ADDRESS_OPTIONS}"));
            test.env("TSAN_OPTIONS", format!("{SIGNALS}:{THREAD_OPTIONS}"));
            if options.sanitizer == Sanitizer::Thread {
                // Two tests are no threads of one server: what one unmaps by a raw system call, the next may map at the
                // same place, and the sanitizer sees neither.
                test.env("RUST_TEST_THREADS", "1");
            }
            for (name, _) in LEFT_OUT {
                test.args(["--skip", name]);
            }
            if run::run(test.args(&options.arguments)).is_err() {
                failed.push(format!("{name} ({})", built.target.name));
            }
            println!("{:.0?}", start.elapsed());
        }
    }
    if !failed.is_empty() {
        bail!("tests failed in {}", failed.join(", "));
    }
    Ok(())
}

/// Builds the tests of the crates by one invocation, so that what they depend on is built once. Returns the
/// programs.
fn build(workspace: &Workspace, options: &Options, crates: &[&str]) -> Result<Vec<Built>> {
    let mut build = workspace.cargo(["test", "--lib", "--tests", "--no-run", "--target", TARGET]);
    for name in crates {
        build.args(["--package", &full(name)]);
    }
    let sanitizer = options.sanitizer.name();
    let by_libc = match options.sanitizer {
        Sanitizer::Address => "",
        Sanitizer::Thread => BY_LIBC,
    };
    if options.build_std || options.sanitizer == Sanitizer::Thread {
        build.arg("-Zbuild-std");
        build.env("RUSTC", guest_rustc::with_source(workspace)?);
    }
    build
        .arg("--target-dir")
        .arg(workspace.target.join("sanitize").join(sanitizer))
        .args(["--message-format", "json-render-diagnostics"])
        .env("RUSTC_BOOTSTRAP", "1")
        .env("RUSTFLAGS", format!("-Zsanitizer={sanitizer}{by_libc}"));
    let messages = run::output(&mut build)?;
    // Other messages have other fields.
    Ok(messages
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .filter(|built: &Built| built.executable.is_some())
        .collect())
}

fn full(name: &str) -> String {
    format!("ferrite-{name}")
}

/// The names of the crates that are asked for.
fn chosen(names: &[String]) -> Result<Vec<&'static str>> {
    if names.is_empty() {
        return Ok(TESTED.to_vec());
    }
    names
        .iter()
        .map(|name| {
            let short = name.strip_prefix("ferrite-").unwrap_or(name);
            let known = TESTED.into_iter().find(|tested| *tested == short);
            known.with_context(|| {
                format!(
                    "no tests of a crate '{name}' are run here: name some of {}",
                    TESTED.join(", ")
                )
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{TESTED, chosen};

    #[test]
    fn crates_are_named_with_and_without_their_prefix() {
        let names = ["store", "ferrite-cache"].map(str::to_owned);
        assert_eq!(chosen(&names).expect("both are known"), ["store", "cache"]);
        assert_eq!(chosen(&[]).expect("all"), TESTED);
        let error = chosen(&["ferrite".to_owned()]).expect_err("there is none");
        assert!(error.to_string().contains("'ferrite'"), "{error}");
    }
}
