//! `ferrite-wasmc run`: calls a function on this machine, with a new, empty store.

mod data;
mod log;
mod options;
mod profile;
mod reply;
mod reply_text;
mod report;

use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, anyhow, bail};
use ferrite_cache::Profile;
use ferrite_protocol::resp::{Encoder, Protocol};
use ferrite_runtime::artifact::source::Source;
use ferrite_runtime::error::Code;
use ferrite_runtime::policy::limits::Limits;
use ferrite_runtime::{CallRequest, LoadRequest, Runtime, RuntimeOptions};
use ferrite_store::{Store, StoreOptions};

use crate::files::bounded_file;
use crate::files::cache_folder::CacheFolder;
use crate::precompile::{self, NativeCode, OnCacheFailure, Precompiler, PreinitOptions};
use crate::project::Project;
use crate::terminal::console::{Console, Exit};
use crate::terminal::progress::Progress;
use crate::watch::Watch;
use options::{Options, function_name};
use profile::ProfileReport;
use report::{CallReport, Failure};

/// The arguments of `ferrite-wasmc run`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Module to run, or the folder of a project, which is built first; and the entry to call.
    /// Default: the entry `run`, else the one named like the file, else the only one
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

    /// Limits of the call, as in WASM.LOAD: {"max_time": "50ms", "max_memory": "16MB", …}
    #[arg(long, value_name = "JSON")]
    limits: Option<String>,

    /// Permissions of the function, as in WASM.LOAD: {"allow_write": true, "allowed_keys": ["a:*"],
    /// …}, or read-only, read-write or none. Default: it may read every key
    #[arg(long, value_name = "JSON")]
    permissions: Option<String>,

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

/// Finds the module's code in the cache, or compiles it.
fn obtain(file: &Path, precompiler: &Precompiler, console: &Console) -> Result<NativeCode> {
    let name = file.display().to_string();
    let progress = Progress::new(1, console.is_json());
    bounded_file::read(file, precompiler.bounds().source_bytes_max)
        .and_then(|source| {
            precompiler.find_or_compile(&name, &source, OnCacheFailure::Fail, &|note| {
                progress.set_message(note);
            })
        })
        .map_err(|error| match precompile::error_code(&error) {
            Some(code) => anyhow!("{name}: {code}: {error:#}"),
            None => error.context(name.clone()),
        })
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
fn module(path: &Path) -> Result<PathBuf> {
    if !path.is_dir() {
        return Ok(path.to_owned());
    }
    let project = Project::find(path)?;
    let modules = project
        .build()
        .with_context(|| format!("cannot build {}", project.display_name()))?;
    match modules.as_slice() {
        [module] => Ok(module.clone()),
        modules => bail!(
            "{} builds {} modules; name one of them",
            path.display(),
            modules.len()
        ),
    }
}

/// Calls the function once and prints its reply as `redis-cli` would.
fn once(options: &Options, console: &Console) -> Result<Exit> {
    let file = module(&options.path)?;
    let name = function_name(&file)?;
    let cache = options.cache.open_with(u64::MAX)?;
    let jobs = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let profile = Profile::native().with_stack_depth(options.limits.max_stack_depth.is_some());
    let precompiler =
        Precompiler::new(profile, jobs, Some(cache.clone())).with_preinit(options.preinit);
    let found = obtain(&file, &precompiler, console)?;

    let store = Store::in_memory(&StoreOptions::default());
    if let Some(path) = &options.data {
        data::load(path, &store).with_context(|| path.display().to_string())?;
    }
    let runtime = Runtime::new(
        // The user runs their own function on their own machine.
        RuntimeOptions::default().with_limits(Limits::DEFAULT, Limits::unbounded()),
        store,
        Some(cache),
    )?;
    runtime
        .load(LoadRequest {
            name: name.clone(),
            source: Source::Cached(found.manifest.source),
            file: None,
            description: None,
            permissions: Some(options.permissions.clone()),
            limits: options.limits.clone(),
            isolation: None,
            replace: false,
        })
        .map_err(|error| anyhow!("{error}"))?;

    let function = options.call_name(&name);
    let keys: Vec<&[u8]> = options.keys.iter().map(Vec::as_slice).collect();
    let args: Vec<&[u8]> = options.args.iter().map(Vec::as_slice).collect();
    // Text is printed as by `redis-cli`, which uses RESP2; JSON keeps the types that only RESP3
    // has.
    let mut encoder = Encoder::new(if console.is_json() {
        Protocol::Resp3
    } else {
        Protocol::Resp2
    });
    let mut request = CallRequest::new(&function, &keys, &args);
    request.profile = options.profile;
    let started = Instant::now();
    let outcome = pollster::block_on(runtime.call(&request, &mut encoder));
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
    if let (Some(denied), false) = (&outcome.denied, console.is_json()) {
        console.warn(&format!("refused: {denied}"))?;
    }
    console.print(&CallReport {
        source: found.manifest.source,
        cached: found.cached,
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
            .map(|profile| ProfileReport::new(profile, took, outcome.fuel)),
    })?;
    Ok(exit)
}
