//! The program `ferrite-server`.

use std::error::Error;
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use ferrite_protocol::error_chain::ErrorChain;
use ferrite_server::config::{self, Action, Config, Invocation};
use ferrite_server::process::{log, open_files};
use ferrite_server::scheduling::time_slice;
use ferrite_server::{Host, Listeners, run};
use tokio::signal::unix::{SignalKind, signal};

/// How long commands that block a thread may go on once everything else has ended.
const SHUTDOWN_PATIENCE: Duration = Duration::from_secs(2);

/// The command line or the configuration is wrong.
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
            let told: String = warnings
                .iter()
                .map(|text| format!("warning: {text}\n"))
                .collect();
            told + "the configuration is right\n"
        }
        Action::PrintConfig => config.to_toml(),
        Action::Help => config::help(),
        Action::Version => format!("ferrite-server {}\n", env!("CARGO_PKG_VERSION")),
    };
    match io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error, 1),
    }
}

/// Writes an error and its sources to standard error.
fn fail(error: &dyn Error, code: u8) -> ExitCode {
    let text = format!("ferrite-server: {}\n", ErrorChain(error));
    // There is nobody left to tell that standard error is closed.
    let _ = io::stderr().write_all(text.as_bytes());
    ExitCode::from(code)
}

fn serve(config: Config, warnings: &[String]) -> Result<(), Box<dyn Error>> {
    log::start(&config.server)?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    open_files::raise(config.server.max_connections);
    // Before there are other threads, which inherit it.
    time_slice::ask_for_serving();
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if config.server.threads > 0 {
        builder.worker_threads(config.server.threads);
    }
    let runtime = builder.enable_all().thread_name("ferrite").build()?;
    let served = runtime.block_on(async {
        // Caught from here on, so that a signal during the start is not lost.
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let listeners = Listeners::bind(&config)?;
        let host = Host::open(config)?;
        announce(&listeners)?;
        let shutdown = async {
            tokio::select! {
                _ = terminate.recv() => tracing::info!("told to stop by SIGTERM"),
                _ = interrupt.recv() => tracing::info!("told to stop by SIGINT"),
            }
        };
        run(host, listeners, shutdown).await;
        Ok::<(), Box<dyn Error>>(())
    });
    // A compilation that nobody waits for any more does not hold up the end.
    runtime.shutdown_timeout(SHUTDOWN_PATIENCE);
    tracing::info!("stopped");
    served
}

/// Says on standard output, for programs that start this one, where it can be reached.
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
