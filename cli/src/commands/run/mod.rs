//! `ferrite-wasmc run`: calls a function on this machine, with a new, empty store, or on the data of an engine.

pub(crate) mod data;
mod engine;
pub(crate) mod loaded;
mod log;
mod options;
mod profile;
mod report;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};
use ferrite_protocol::resp::{Encoder, Protocol};
use ferrite_runtime::CallRequest;
use ferrite_runtime::error::Code;
use ferrite_runtime::policy::files::directory::Directory;
use ferrite_runtime::policy::network::address::IpRange;
use ferrite_store::StoreOptions;

use crate::files::cache_folder::CacheFolder;
use crate::precompile::PreinitOptions;
use crate::project::{Project, function_name};
use crate::reply;
use crate::terminal::console::{Console, Exit};
use crate::watch::Watch;
use engine::EngineOptions;
use loaded::Loaded;
use options::Options;
use profile::ProfileReport;
use report::{CallReport, Failure};

/// The arguments of `ferrite-wasmc run`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Module to run, or the folder of a project, which is built first; and the entry to call.
    /// Default: the project's entry, else `run`, else the one named like the file, else the only one
    #[arg(value_name = "FILE[:ENTRY]")]
    function: OsString,

    /// Key for the call; may be given several times
    #[arg(long = "key", value_name = "KEY")]
    keys: Vec<OsString>,

    /// Argument for the call; may be given several times
    #[arg(long = "arg", value_name = "ARG", allow_hyphen_values = true)]
    args: Vec<OsString>,

    /// File of commands to run on the store before the call, one a line, as in `redis-cli`
    #[arg(long, value_name = "FILE")]
    data: Option<PathBuf>,

    #[command(flatten)]
    engine: EngineOptions,

    /// Limits of the call, as in WASM.LOAD: {"max_time": "50ms", "max_memory": "16MB", …}
    #[arg(long, value_name = "JSON")]
    limits: Option<String>,

    /// Permissions of the function, as in WASM.LOAD: {"allow_write": true, "allowed_keys": ["a:*"],
    /// …}, or read-only, read-write or none. Default: those in ferrite.project.toml of the project,
    /// else it may read every key
    #[arg(long, value_name = "JSON")]
    permissions: Option<String>,

    /// The function's own configuration, as in WASM.LOAD: {"token": "…"}
    #[arg(long, value_name = "JSON")]
    config: Option<String>,

    /// Directory that the function may read as /NAME, or with NAME:scratch=SIZE or NAME:kept=SIZE one in
    /// memory that it may write; may be given several times
    #[arg(long, value_name = "NAME=PATH")]
    dir: Vec<Directory>,

    /// Let the function make the requests to other servers that its permissions list in
    /// `allow_network`. Requests of `after_commit` are sent once after the call
    #[arg(long)]
    allow_network: bool,

    /// Range of addresses outside the public internet that its requests may go to, such as
    /// 127.0.0.1; may be given several times
    #[arg(long, value_name = "RANGE", requires = "allow_network")]
    allow_private_network: Vec<IpRange>,

    #[command(flatten)]
    cache: CacheFolder,

    #[command(flatten)]
    preinit: PreinitOptions,

    /// Also print the call's time, fuel, memory and host calls. Its writes are rolled back
    #[arg(long)]
    profile: bool,

    /// Call again after every change of the module, the project's sources or the data, until Ctrl-C
    #[arg(long)]
    watch: bool,
}

/// Calls the function once; with `--watch`, again after every change.
pub(crate) fn run(arguments: Arguments, console: &Console) -> Result<Exit> {
    let options = Options::resolve(arguments)?;
    log::start(console.is_json());
    if !options.watch {
        return once(&options, console);
    }
    // Watching starts before the first call, so that no change is missed.
    let watched = [Some(&options.path), options.data.as_ref()];
    let mut changes = Watch::new(watched.into_iter().flatten().cloned().collect());
    loop {
        if let Err(error) = once(&options, console) {
            console.error(&error);
        }
        console.warn(&format!(
            "watching {}; Ctrl-C ends it",
            options.path.display()
        ))?;
        changes.wait();
    }
}

/// Returns the module to run: the named file, or the one that the project builds.
fn module(path: &Path, console: &Console) -> Result<PathBuf> {
    if path.is_dir() {
        Project::find(path)?.build_one(console)
    } else {
        Ok(path.to_owned())
    }
}

/// Calls the function once and prints its reply as `redis-cli` would.
fn once(options: &Options, console: &Console) -> Result<Exit> {
    let file = module(&options.path, console)?;
    let loaded = Loaded::find(
        &file,
        function_name(&file)?,
        &options.cache,
        options.preinit,
        options.policy.clone(),
        console,
    )?;
    let session = loaded.start(&StoreOptions::default(), |store| match &options.data {
        Some(path) => data::load(path, store).with_context(|| path.display().to_string()),
        None => Ok(()),
    })?;

    let keys: Vec<&[u8]> = options.keys.iter().map(Vec::as_slice).collect();
    let args: Vec<&[u8]> = options.args.iter().map(Vec::as_slice).collect();
    // Text is printed as by `redis-cli`, which uses RESP2; JSON keeps the types that only RESP3
    // has.
    let mut encoder = Encoder::new(if console.is_json() {
        Protocol::Resp3
    } else {
        Protocol::Resp2
    });
    let entry = options
        .entry
        .as_deref()
        .or_else(|| options.entry_of_project(&loaded));
    let started = Instant::now();
    let name = session.name_of(entry);
    let mut request = CallRequest::new(&name, &keys, &args);
    request.profile = options.profile;
    let (outcome, engine_use) = match &options.engine {
        Some(engine) => {
            let (outcome, used) = engine.call(session.runtime(), &request, &mut encoder)?;
            (outcome, Some(used))
        }
        None => (session.call(&request, &mut encoder), None),
    };
    let took = started.elapsed();
    let reply = reply::read(encoder.bytes())?;

    // The function may also return the error of a refused host call as its own reply.
    let refused = outcome.denied.is_some()
        || reply.has_code(Code::NoPermission.as_str())
        || outcome
            .error
            .as_ref()
            .is_some_and(|error| error.code() == Code::NoPermission);
    let exit = match (reply.is_error(), refused) {
        (false, _) => Exit::Done,
        (true, true) => Exit::Refused,
        (true, false) => Exit::Failed,
    };
    let sent = session.send_committed();
    if sent.failures > 0 && !console.is_json() {
        let error = sent.last_error.as_deref().unwrap_or_default();
        console.warn(&format!(
            "{} of {} requests of after_commit were not accepted: {error}",
            sent.failures, sent.queued
        ))?;
    }
    if let (Some(denied), false) = (&outcome.denied, console.is_json()) {
        console.warn(&format!("refused: {denied}"))?;
    }
    console.print(&CallReport {
        source: loaded.code.manifest.source,
        cached: loaded.code.cached,
        reply,
        error: outcome.error.as_ref().map(|error| Failure {
            code: error.code().as_str(),
            message: error.text().to_owned(),
        }),
        denied: outcome.denied.as_ref().map(ToString::to_string),
        fuel: outcome.fuel,
        micros: u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
        profile: outcome
            .profile
            .as_deref()
            .map(|profile| ProfileReport::new(profile, took, outcome.fuel, engine_use)),
    })?;
    Ok(exit)
}
