//! `cargo xtask bench`: measures the speed beside peers, and writes the page with the figures.
//!
//! A part measures one thing and keeps its figures in a JSON file of its own beside the benchmarks, with the
//! machine and the commit. The pages in `docs/` and the plot are written from these files, so a part can be measured
//! again alone. Contenders take turns within a run, so that noise on the machine slows all of them.

mod cold;
mod compile;
mod figures;
mod in_process;
pub(crate) mod instructions;
mod languages;
mod load;
mod module;
mod page;
mod plot;
mod quick;
mod socket;
mod store;
mod upstream;
mod valkey;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::ValueEnum;
use serde::Serialize;
use serde::de::DeserializeOwned;

use self::figures::machine::Machine;
use crate::binaries::BuildProfile;
use crate::run::heading;
use crate::workspace::Workspace;

/// The options of `bench`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Measure only these parts
    #[arg(long, value_name = "PART", value_delimiter = ',')]
    only: Vec<Part>,
    /// Number of rounds of the parts with a socket; each contender has one turn in each round
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Length of each turn, in seconds
    #[arg(long, default_value_t = 1.5)]
    seconds: f64,
    /// The profile to build the binaries with
    #[arg(long, value_enum, default_value_t = BuildProfile::Release)]
    profile: BuildProfile,
    /// Write the page from the kept figures, and measure nothing
    #[arg(long, conflicts_with = "only")]
    page: bool,
    /// Measure only the ratios that matter, in about five minutes once everything is built, and
    /// print them as one table; writes no page
    #[arg(long, conflicts_with_all = ["only", "page", "rounds", "seconds"])]
    quick: bool,
}

/// The parts, in the order in which they run.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Calls through the socket, beside Lua in Valkey
    Socket,
    /// Calls through the socket, by the number of connections and the length of pipelines
    Scaling,
    /// Calls within Valkey, by the module, beside Lua in the same server
    Module,
    /// Instructions of calls within Valkey, by the module and in Lua
    Instructions,
    /// Calls on the data of an engine, beside scripts in that engine
    Upstream,
    /// The embedded store's commands beside Valkey's, latency beside endless functions, many keys
    Store,
    /// Starting the server, loading functions, memory, the binary's size
    Cold,
    /// Compiling, beside wasmtime's compiler alone
    Compile,
    /// Functions in every language, beside Lua in Valkey
    Languages,
    /// The benchmarks in `benches/`
    InProcess,
}

impl Part {
    fn name(self) -> &'static str {
        match self {
            Self::Socket => "socket",
            Self::Scaling => "scaling",
            Self::Module => "module",
            Self::Instructions => "instructions",
            Self::Upstream => "upstream",
            Self::Store => "store",
            Self::Cold => "cold",
            Self::Compile => "compile",
            Self::Languages => "languages",
            Self::InProcess => "in-process",
        }
    }
}

/// Measures the chosen parts, and writes the page from all kept figures.
///
/// # Errors
/// If something does not build, start or answer as it should.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    if options.quick {
        return quick::run(workspace, options.profile);
    }
    for part in Part::value_variants() {
        if options.page || !(options.only.is_empty() || options.only.contains(part)) {
            continue;
        }
        heading(part.name());
        match part {
            Part::Socket => keep(
                workspace,
                options,
                *part,
                &socket::measure(workspace, options.profile, options.rounds, options.seconds)?,
            )?,
            Part::Scaling => keep(
                workspace,
                options,
                *part,
                &socket::scaling::measure(workspace, options.profile, options.seconds / 2.0)?,
            )?,
            Part::Module => keep(
                workspace,
                options,
                *part,
                &module::measure(workspace, options.profile, options.rounds, options.seconds)?,
            )?,
            Part::Instructions => keep(
                workspace,
                options,
                *part,
                &instructions::measure(workspace, options.profile)?,
            )?,
            Part::Upstream => keep(
                workspace,
                options,
                *part,
                &upstream::measure(workspace, options.profile, options.rounds, options.seconds)?,
            )?,
            Part::Store => keep(
                workspace,
                options,
                *part,
                &store::measure(workspace, options.profile, options.rounds, options.seconds)?,
            )?,
            Part::Cold => keep(
                workspace,
                options,
                *part,
                &cold::measure(workspace, options.profile)?,
            )?,
            Part::Compile => keep(
                workspace,
                options,
                *part,
                &compile::measure(workspace, options.profile)?,
            )?,
            Part::Languages => keep(
                workspace,
                options,
                *part,
                &languages::measure(workspace, options.profile, options.rounds, options.seconds)?,
            )?,
            Part::InProcess => keep(workspace, options, *part, &in_process::measure(workspace)?)?,
        }
    }
    let socket = kept(workspace, Part::Socket)?;
    let store = kept(workspace, Part::Store)?;
    let cold = kept(workspace, Part::Cold)?;
    let compile = kept(workspace, Part::Compile)?;
    let languages = kept(workspace, Part::Languages)?;
    let in_process = kept(workspace, Part::InProcess)?;
    let docs = workspace.root.join("docs");
    if let Some((socket, _)) = &socket {
        write(&docs.join("benchmarks.svg"), &plot::throughput(socket))?;
    }
    let scaling: Option<(Vec<socket::scaling::Row>, _)> = kept(workspace, Part::Scaling)?;
    if let Some((rows, _)) = &scaling {
        write(&docs.join("benchmarks-scaling.svg"), &plot::scaling(rows))?;
    }
    if let Some((module, machine)) = kept(workspace, Part::Module)? {
        let instructions = kept(workspace, Part::Instructions)?.map(|(figures, _)| figures);
        let page = module::page(&machine, &module, instructions.as_ref());
        write(&docs.join("benchmarks-valkey.md"), &page)?;
    }
    if let Some((upstream, machine)) = kept(workspace, Part::Upstream)? {
        let page = upstream::page(&machine, &upstream);
        write(&docs.join("benchmarks-upstream.md"), &page)?;
    }
    let measured = page::Measured {
        socket,
        scaling,
        store,
        cold,
        compile,
        languages,
        in_process,
    };
    write(&docs.join("benchmarks.md"), &page::write(&measured))
}

fn file(workspace: &Workspace, part: Part) -> PathBuf {
    workspace
        .root
        .join("benches/figures")
        .join(part.name())
        .with_extension("json")
}

fn keep<T: Serialize>(
    workspace: &Workspace,
    options: &Options,
    part: Part,
    figures: &T,
) -> Result<()> {
    let path = file(workspace, part);
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot make {}", folder.display()))?;
    }
    write(
        &path,
        &serde_json::to_string_pretty(&(figures, Machine::here(workspace, options.profile)))?,
    )
}

/// Returns the kept figures of a part and the machine; `None` if the part was never measured.
fn kept<T: DeserializeOwned>(workspace: &Workspace, part: Part) -> Result<Option<(T, Machine)>> {
    let path = file(workspace, part);
    if !path.is_file() {
        println!(
            "note: {} was not measured, and has no place on a page",
            part.name()
        );
        return Ok(None);
    }
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read {}", path.display()))?;
    let again = format!(
        "{} is of another version; measure it again: cargo xtask bench --only {}",
        path.display(),
        part.name()
    );
    serde_json::from_str(&text).context(again)
}

fn write(path: &Path, text: &str) -> Result<()> {
    println!("writing {}", path.display());
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// Creates a folder, or empties an existing one.
fn empty(folder: &Path) -> Result<()> {
    if folder.exists() {
        std::fs::remove_dir_all(folder)
            .with_context(|| format!("cannot empty {}", folder.display()))?;
    }
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))
}
