//! The program `ferrite-server`.

use std::error::Error;
use std::io::{self, BufRead as _, Read as _, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use ferrite_protocol::error_chain::ErrorChain;
use ferrite_protocol::one_line::Lines;
use ferrite_server::config::PasswordHash;
use ferrite_server::config::{self, Action, Config, Invocation};
use ferrite_server::process::{log, open_files};
use ferrite_server::scheduling::time_slice;
use ferrite_server::{
    Listeners, Restored, ServerState, check_files, check_users, load_users, restore, run,
    take_over_functions,
};
use rustix::process::Signal;
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use tokio::signal::unix::{SignalKind, signal};

/// Time that commands on blocking threads have to end after everything else has stopped.
const BLOCKING_SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(2);

/// Longest password.
const PASSWORD_BYTES_MAX: u64 = 64 * 1024;

/// Exit status if the command line or the configuration is wrong.
const EXIT_USAGE: u8 = 2;

fn main() -> ExitCode {
    let invocation = match Invocation::read(std::env::args_os().skip(1), std::env::vars_os()) {
        Ok(invocation) => invocation,
        Err(error) => return fail(&error, EXIT_USAGE),
    };
    let Invocation {
        action,
        config,
        warnings,
    } = invocation;
    let text = match action {
        Action::Serve => {
            return match serve(config, &warnings) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => fail(&*error, 1),
            };
        }
        Action::CheckConfig => {
            let mut problems = check_files(&config);
            problems.extend(
                check_users(&config)
                    .err()
                    .map(|error| ErrorChain(&error).to_string()),
            );
            if !problems.is_empty() {
                let text = problems.join("; ");
                return fail(&*Box::<dyn Error>::from(text), EXIT_USAGE);
            }
            let lines: String = warnings
                .iter()
                .map(|text| format!("warning: {text}\n"))
                .collect();
            lines + "the configuration is right\n"
        }
        Action::Restore(folder) => match restore(&config, &folder) {
            Ok(Restored { keys, functions }) => {
                format!("restored {keys} keys and the sources of {functions} functions\n")
            }
            Err(error) => return fail(&error, 1),
        },
        Action::HashPassword => match hash_password() {
            Ok(text) => text,
            Err(error) => return fail(&*error, 1),
        },
        Action::PrintConfig => config.to_toml(),
        Action::Help => config::help(),
        Action::Version => format!(
            "ferrite-server {}\n",
            ferrite_cache::build_version(env!("CARGO_PKG_VERSION"), option_env!("FERRITE_COMMIT"))
        ),
    };
    match io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error, 1),
    }
}

/// Prints an error and its causes on one line, and returns the exit status.
fn fail(error: &dyn Error, code: u8) -> ExitCode {
    let text = ErrorChain(error).to_string();
    let text = format!("ferrite-server: {}\n", Lines(&text));
    // If standard error is closed, there is no way left to report it.
    let _ = io::stderr().write_all(text.as_bytes());
    ExitCode::from(code)
}

/// Reads a password from standard input and returns its hash, for the configuration. A terminal does not
/// show what is typed.
fn hash_password() -> Result<String, Box<dyn Error>> {
    let stdin = io::stdin();
    let mut line = String::new();
    let shown = tcgetattr(&stdin).ok();
    if let Some(shown) = &shown {
        io::stderr().write_all(b"Password: ")?;
        let mut hidden = shown.clone();
        hidden.local_modes.remove(LocalModes::ECHO);
        tcsetattr(&stdin, OptionalActions::Flush, &hidden)?;
    }
    let read = stdin.lock().take(PASSWORD_BYTES_MAX).read_line(&mut line);
    if let Some(shown) = &shown {
        tcsetattr(&stdin, OptionalActions::Flush, shown)?;
        io::stderr().write_all(b"\n")?;
    }
    read?;
    let password = line.trim_end_matches(['\r', '\n']);
    if password.is_empty() {
        return Err("the password is empty; give it on standard input".into());
    }
    Ok(format!("{}\n", PasswordHash::slow(password.as_bytes())?))
}

fn serve(config: Config, warnings: &[String]) -> Result<(), Box<dyn Error>> {
    log::start(&config.server)?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    open_files::raise(config.server.max_connections);
    // Before other threads start, because they inherit it.
    time_slice::ask_for_serving();
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if config.server.threads > 0 {
        builder.worker_threads(config.server.threads);
    }
    let runtime = builder.enable_all().thread_name("ferrite").build()?;
    let served = runtime.block_on(async {
        // Installed early, so that a signal during the start is not lost.
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        // A write past the limit on the size of files then fails, instead of ending the process.
        let _file_too_large = signal(SignalKind::from_raw(Signal::XFSZ.as_raw()))?;
        let listeners = Listeners::bind(&config)?;
        let state = ServerState::open(config)?;
        load_users(&state)?;
        take_over_functions(&state).await;
        announce(&listeners)?;
        let shutdown = async {
            tokio::select! {
                _ = terminate.recv() => tracing::info!("stopping because of SIGTERM"),
                _ = interrupt.recv() => tracing::info!("stopping because of SIGINT"),
            }
        };
        run(state, listeners, shutdown).await?;
        Ok::<(), Box<dyn Error>>(())
    });
    // A compilation whose client is gone must not delay the exit for long.
    runtime.shutdown_timeout(BLOCKING_SHUTDOWN_TIMEOUT);
    tracing::info!("stopped");
    served
}

/// Prints the server's addresses on standard output, for programs that start it.
fn announce(listeners: &Listeners) -> io::Result<()> {
    let mut line = "ready".to_owned();
    for (kind, address) in listeners.addresses() {
        line.push_str(&format!(" {kind}={address}"));
        tracing::info!(kind, %address, "listening");
    }
    let mut stdout = io::stdout();
    writeln!(stdout, "{line}")?;
    stdout.flush()
}
