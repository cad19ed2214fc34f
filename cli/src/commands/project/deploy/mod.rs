//! `ferrite-wasmc deploy`: builds a project's function and loads it into a server, after showing what it
//! may do that the running one may not.

mod address;
mod connection;
mod load_line;
mod running;
mod tls;

use std::io::{self, IsTerminal as _, Read as _, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use ferrite_cache::Digest;
use ferrite_runtime::policy::function_config::FunctionConfig;
use ferrite_runtime::policy::function_spec::Isolation;
use ferrite_runtime::policy::limits::{LimitSettings, Limits};
use serde::Serialize;

use crate::commands::diff::compare::{Change, compare};
use crate::commands::diff::input::DiffInput;
use crate::commands::run::loaded::{Loaded, Policy};
use crate::files::bounded_file;
use crate::files::cache_folder::CacheFolder;
use crate::precompile::PreinitOptions;
use crate::project::settings::{FILE, Settings};
use crate::project::{Project, function_name};
use crate::terminal::console::{Console, Exit, Report, UsageError};
use crate::tls::TlsOptions;
use address::Address;
use connection::Connection;
use load_line::LoadLine;
use running::Running;

/// The longest file with a configuration, in bytes: the values that there can be, with escapes.
const CONFIG_BYTES_MAX: u64 = 1 << 20;

/// The largest module that is sent, in bytes.
const MODULE_BYTES_MAX: u64 = 1 << 30;

/// The arguments of `ferrite-wasmc deploy`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Folder of the project, which is built first. Its settings are in ferrite.project.toml
    #[arg(default_value = ".", value_name = "DIR")]
    folder: PathBuf,

    /// Server to load the function into: `redis://[user@]host[:port]`, or `rediss://` with TLS. The
    /// password is read from FERRITE_DEPLOY_PASSWORD. Default: the one in ferrite.project.toml
    #[arg(long, value_name = "ADDRESS")]
    server: Option<String>,

    /// File with the function's configuration, as in WASM.LOAD: {"token": "…"}. Without it, the function
    /// keeps the one that it has on the server. - reads standard input
    #[arg(long, value_name = "FILE")]
    config_file: Option<PathBuf>,

    /// Load it even if it may do more than the running one
    #[arg(long)]
    yes: bool,

    /// Only show the differences; exit code 3 if it may do more
    #[arg(long)]
    dry_run: bool,

    /// Only build, and print the command line by which redis-cli 7.0 or later loads the module with the project's
    /// settings
    #[arg(long, conflicts_with_all = ["config_file", "yes", "dry_run"])]
    print: bool,

    #[command(flatten)]
    tls: TlsOptions,

    #[command(flatten)]
    cache: CacheFolder,

    #[command(flatten)]
    preinit: PreinitOptions,
}

/// The result of a deployment.
#[derive(Serialize)]
struct DeployReport {
    name: String,
    server: String,
    /// Digest of the code that ran before; none if the function is new there.
    before: Option<Digest>,
    source: Digest,
    /// True if the new code may do anything that the running one may not.
    wider: bool,
    changes: Vec<Change>,
    /// False if it was not loaded.
    loaded: bool,
    /// A command line that calls it, with room for keys and arguments.
    #[serde(skip)]
    call: String,
    /// True if somebody was asked, who has seen the changes then.
    #[serde(skip)]
    asked: bool,
}

/// Builds, compares, asks, and loads.
pub(crate) fn run(arguments: Arguments, console: &Console) -> Result<Exit> {
    let Arguments {
        folder,
        server,
        config_file,
        yes,
        dry_run,
        print,
        tls,
        cache,
        preinit,
    } = arguments;
    let project = Project::find(&folder)?;
    let settings = Settings::of(&folder)?;
    let Some(server) = server.or(settings.server) else {
        bail!(UsageError(format!(
            "give a server with --server, or set `server` in {FILE}"
        )));
    };
    let address = Address::parse(&server)?;
    tls.check(address.tls)?;
    let config = config_file.as_deref().map(read_config).transpose()?;
    // A build takes its time, so what can be missing is looked for before.
    let password = if print { None } else { address.password()? };
    let module = project.build_one(console)?;
    let name = match settings.name {
        Some(name) => name,
        None => function_name(&module)?,
    };
    let policy = Policy {
        permissions: settings.permissions.unwrap_or_default(),
        limits: settings.limits.clone().unwrap_or_default(),
        isolation: settings.isolation,
        ..Policy::default()
    };
    // A module with a fault is found here, and not by the server.
    let loaded = Loaded::find(
        &module,
        name.clone(),
        &cache,
        preinit.choice(),
        policy.clone(),
        console,
    )?;
    let source = loaded.code.manifest.source;
    let options = load_options(&policy, settings.limits.is_some());
    if print {
        console.print(&LoadLine::new(
            &address,
            &tls,
            name.as_str(),
            &module,
            options,
        ))?;
        return Ok(Exit::Done);
    }

    let mut connection = Connection::open(&address, &tls, password.as_deref())?;
    let running = Running::of(name.as_str(), &mut connection)?;
    let mut new = DiffInput::read(&module)?;
    new.permissions = policy.permissions.clone();
    new.limits = in_force(&policy.limits)?;
    new.isolation = Some(policy.isolation.unwrap_or(Isolation::Rewind));
    let changes = match &running {
        Some(running) => {
            let old_source = match cache.open_existing()? {
                Some(cache) => cache.source(&running.source)?,
                None => None,
            };
            if old_source.is_none() && !console.is_json() {
                console.warn(&format!(
                    "note: the code that runs there, {}, is not in {}, so its imports are not compared",
                    running.source,
                    cache.path.display()
                ))?;
            }
            compare(&running.as_input(old_source.as_deref(), &new)?, &new)?
        }
        None => Vec::new(),
    };
    let mut report = DeployReport {
        name: name.as_str().to_owned(),
        server: address.to_string(),
        before: running.as_ref().map(|running| running.source),
        source,
        wider: changes.iter().any(|change| change.wider),
        changes,
        loaded: false,
        call: call_line(&address, name.as_str(), settings.entry.as_deref()),
        asked: false,
    };
    let mut goes = !dry_run && (!report.wider || yes);
    if report.wider && !dry_run && !yes && can_ask(console) {
        report.asked = true;
        goes = ask(&report, console)?;
    }
    if goes {
        let wasm = bounded_file::read(&module, MODULE_BYTES_MAX)?;
        let mut words: Vec<&[u8]> = vec![b"WASM.LOAD", name.as_bytes(), &wasm];
        words.extend(options.iter().map(String::as_bytes));
        if let Some(config) = &config {
            words.extend([b"CONFIG".as_slice(), config]);
        }
        words.push(b"REPLACE");
        if let Some(error) = connection.command(&words)?.error() {
            bail!("{address}: {error}");
        }
        report.loaded = true;
    }
    console.print(&report)?;
    Ok(match (report.loaded, report.wider) {
        (true, _) | (false, false) => Exit::Done,
        (false, true) => Exit::Refused,
    })
}

/// The options of `WASM.LOAD` for these permissions, limits and isolation. Limits that are not set are left to the server.
fn load_options(policy: &Policy, limits_are_set: bool) -> Vec<String> {
    let mut words = vec!["PERMISSIONS".to_owned(), policy.permissions.to_json()];
    if limits_are_set {
        words.extend(["LIMITS".to_owned(), policy.limits.to_json()]);
    }
    if let Some(isolation) = policy.isolation {
        words.extend(["ISOLATION".to_owned(), isolation.as_str().to_owned()]);
    }
    words
}

/// The command line by which redis-cli calls the function on this server.
fn call_line(address: &Address, name: &str, entry: Option<&str>) -> String {
    let Address {
        tls,
        user,
        host,
        port,
    } = address;
    let mut line = "redis-cli".to_owned();
    if host != "127.0.0.1" && host != "localhost" {
        line.push_str(&format!(" -h {host}"));
    }
    line.push_str(&format!(" -p {port}"));
    if *tls {
        line.push_str(" --tls");
    }
    if let Some(user) = user {
        line.push_str(&format!(" --user {user} --askpass"));
    }
    let entry = entry.map_or_else(String::new, |entry| format!(".{entry}"));
    line + &format!(" WASM.CALL {name}{entry} KEYS … ARGS …")
}

/// Reads a configuration, and checks it. Errors do not show its values.
fn read_config(path: &Path) -> Result<Vec<u8>> {
    let shown = || format!("--config-file {}", path.display());
    let json = if path == Path::new("-") {
        let mut json = Vec::new();
        let stdin = io::stdin().take(CONFIG_BYTES_MAX + 1);
        io::BufReader::new(stdin).read_to_end(&mut json)?;
        json
    } else {
        bounded_file::read(path, CONFIG_BYTES_MAX).with_context(shown)?
    };
    FunctionConfig::from_json(&json).with_context(shown)?;
    Ok(json)
}

/// Returns limits with the built-in defaults where none are given. A server with other `[wasm.limits]`
/// fills them otherwise, so limits that the project leaves out may then compare wrongly.
fn in_force(limits: &LimitSettings) -> Result<LimitSettings> {
    let limits = Limits::DEFAULT.for_function(limits, &Limits::unbounded())?;
    Ok(LimitSettings::from_json(limits.to_json().as_bytes())?)
}

/// Returns true if there is a terminal to ask on.
fn can_ask(console: &Console) -> bool {
    !console.is_json() && io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Shows the changes and asks on the terminal.
fn ask(report: &DeployReport, console: &Console) -> Result<bool> {
    for change in &report.changes {
        console.warn(&change.line())?;
    }
    let mut errors = io::stderr();
    write!(
        errors,
        "{} may then do more on {}. Load it? [y/N] ",
        report.name, report.server
    )?;
    errors.flush()?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

impl Report for DeployReport {
    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        for change in self.changes.iter().filter(|_| !self.asked) {
            writeln!(out, "{}", change.line())?;
        }
        let Self {
            name,
            server,
            source,
            ..
        } = self;
        match (self.loaded, self.before) {
            (true, None) => writeln!(
                out,
                "loaded {name} into {server}, where it is new: {source}\n{}",
                self.call
            ),
            (true, Some(_)) => writeln!(out, "loaded {name} into {server}: {source}"),
            (false, _) if self.asked => writeln!(out, "not loaded: {server} keeps what it has"),
            (false, _) if self.wider => writeln!(
                out,
                "not loaded: {name} may do more than the one that runs on {server}; add --yes if that is meant"
            ),
            (false, _) => writeln!(out, "not loaded: {name} would go to {server}: {source}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Change, DeployReport};
    use crate::terminal::console::Report as _;

    fn shown(asked: bool, loaded: bool) -> String {
        let change = |wider, text: &str| Change {
            what: "permission",
            text: text.to_owned(),
            wider,
        };
        let report = DeployReport {
            name: "limits".to_owned(),
            server: "127.0.0.1:6380".to_owned(),
            before: Some(ferrite_cache::Digest::of(b"old")),
            source: ferrite_cache::Digest::of(b"new"),
            wider: true,
            changes: vec![change(true, "allow_write"), change(false, "a\nb")],
            loaded,
            call: String::new(),
            asked,
        };
        let mut out = Vec::new();
        report.text(&mut out).expect("it is written");
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn changes_are_shown_once() {
        let unasked = shown(false, false);
        assert!(
            unasked.starts_with("wider   permission: allow_write\nnote    permission: a\\nb\n"),
            "{unasked}"
        );
        assert!(unasked.contains("add --yes if that is meant"), "{unasked}");
        assert_eq!(
            shown(true, false),
            "not loaded: 127.0.0.1:6380 keeps what it has\n"
        );
        assert!(shown(true, true).starts_with("loaded limits into 127.0.0.1:6380: blake3:"));
    }
}
