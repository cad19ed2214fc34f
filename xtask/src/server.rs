//! Server processes that a task starts, and stops even when it fails.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use ferrite_tests::Client;
use rustix::process::{Pid, Signal, kill_process};

/// Longest time until a server answers its first connection; under valgrind it takes long.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// Longest time until a server ends after SIGTERM.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// A running server. Dropping it stops the process.
pub(crate) struct Server {
    child: Child,
    /// The port it listens on, on the loopback address.
    pub(crate) port: u16,
    /// Its log file.
    pub(crate) log: PathBuf,
}

impl Server {
    /// Starts a server with a command that names the port, and waits until it accepts connections.
    ///
    /// # Errors
    /// If it cannot be started, ends at once or does not answer; the error contains the end of
    /// its log.
    pub(crate) fn start(command: &mut Command, port: u16, log: &Path) -> Result<Self> {
        let out = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
        command
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out);
        let child = command
            .spawn()
            .with_context(|| format!("cannot start {}", command.get_program().display()))?;
        let mut server = Self {
            child,
            port,
            log: log.to_owned(),
        };
        server.wait_until_up()?;
        Ok(server)
    }

    /// The number of the process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The address for clients.
    pub(crate) fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// Opens a new connection.
    pub(crate) fn client(&self) -> Client {
        Client::connect(self.address())
    }

    /// Returns the memory of the process in KiB. `field` is `VmRSS` or another field of
    /// `/proc/PID/status`.
    ///
    /// # Errors
    /// If the process has ended or has no such field.
    pub(crate) fn memory_kib(&self, field: &str) -> Result<u64> {
        let path = format!("/proc/{}/status", self.child.id());
        let status =
            std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        let value = status
            .lines()
            .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        let value = value.with_context(|| format!("{path} has no {field}"))?;
        value
            .trim()
            .trim_end_matches(" kB")
            .parse()
            .with_context(|| format!("{field} is {value}"))
    }

    /// Returns the processor time that the process has used, in seconds, to about a hundredth.
    ///
    /// # Errors
    /// If the process has ended.
    pub(crate) fn processor_seconds(&self) -> Result<f64> {
        let path = format!("/proc/{}/stat", self.child.id());
        let stat = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        // The second field is the program's name in parentheses, which may hold anything; the
        // fourteenth and fifteenth are the times, in clock ticks (proc_pid_stat(5)).
        let (_, fields) = stat
            .rsplit_once(')')
            .with_context(|| format!("{path} is {stat}"))?;
        let ticks = fields.split_ascii_whitespace().skip(11).take(2);
        let ticks: u64 = ticks.filter_map(|field| field.parse::<u64>().ok()).sum();
        Ok(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
    }

    /// Asks the process to end, and waits until it has.
    ///
    /// # Errors
    /// If it does not end by itself; it is then killed.
    pub(crate) fn stop(mut self) -> Result<()> {
        self.terminate()
    }

    fn wait_until_up(&mut self) -> Result<()> {
        let start = Instant::now();
        while start.elapsed() < START_TIMEOUT {
            if TcpStream::connect(self.address()).is_ok() {
                return Ok(());
            }
            if let Some(status) = self.child.try_wait()? {
                bail!(
                    "the server ended at once ({status}); its log ends with:\n{}",
                    self.end_of_log()
                );
            }
            // A refused connection is cheap, but retrying without a pause would take a whole core.
            std::thread::sleep(Duration::from_micros(200));
        }
        bail!(
            "the server did not answer within {START_TIMEOUT:?}; its log ends with:\n{}",
            self.end_of_log()
        )
    }

    fn end_of_log(&self) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    fn terminate(&mut self) -> Result<()> {
        if self.child.try_wait()?.is_some() {
            return Ok(());
        }
        kill_process(Pid::from_child(&self.child), Signal::TERM)
            .context("cannot signal the server")?;
        let start = Instant::now();
        while start.elapsed() < STOP_TIMEOUT {
            if self.child.try_wait()?.is_some() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        self.child.kill()?;
        self.child.wait()?;
        bail!("the server did not end within {STOP_TIMEOUT:?} of being asked to, and was killed")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // While another error is handled, there is nowhere to report this one.
        let _ = self.terminate();
    }
}

/// Returns a port that is free now on the loopback address.
///
/// # Errors
/// If the system has none to give.
pub(crate) fn free_port() -> Result<u16> {
    let listener =
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("cannot find a free port")?;
    Ok(listener.local_addr()?.port())
}
