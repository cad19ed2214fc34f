//! Valkey and Redis as child processes, with the module loaded or unmodified.

use std::env;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::client::Client;
use crate::program::{program, target_dir};
use crate::server::memory_kib;

/// The log line of a server that is ready.
const READY: &str = "Ready to accept connections";

/// A server that loads the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EngineKind {
    /// Valkey 9, by the variable `FERRITE_VALKEY_SERVER`.
    Valkey,
    /// Valkey 8.1, by the variable `FERRITE_VALKEY_8_SERVER`.
    Valkey8,
    /// Redis 7.0, by the variable `FERRITE_REDIS_SERVER`.
    Redis,
    /// Redis 8.0, by the variable `FERRITE_REDIS_8_SERVER`.
    Redis8,
}

impl EngineKind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Valkey, Self::Valkey8, Self::Redis, Self::Redis8];

    /// The newest and the oldest, for long tests: the kinds between them behave like one of
    /// them.
    pub const ENDS: [Self; 2] = [Self::Valkey, Self::Redis];

    const fn variable(self) -> &'static str {
        match self {
            Self::Valkey => "FERRITE_VALKEY_SERVER",
            Self::Valkey8 => "FERRITE_VALKEY_8_SERVER",
            Self::Redis => "FERRITE_REDIS_SERVER",
            Self::Redis8 => "FERRITE_REDIS_8_SERVER",
        }
    }

    /// The server's program, if its variable is set and the file exists.
    #[must_use]
    pub fn program(self) -> Option<PathBuf> {
        env::var_os(self.variable())
            .map(PathBuf::from)
            .filter(|path| path.is_file())
    }

    /// The kinds that can be tested here; prints the missing ones on standard error.
    #[must_use]
    pub fn here() -> Vec<Self> {
        Self::of(&Self::ALL)
    }

    /// The same for [`EngineKind::ENDS`].
    #[must_use]
    pub fn ends_here() -> Vec<Self> {
        Self::of(&Self::ENDS)
    }

    /// The same for the kinds that support scripting engines.
    #[must_use]
    pub fn with_scripting_engines() -> Vec<Self> {
        Self::of(&[Self::Valkey, Self::Valkey8])
    }

    #[expect(clippy::print_stderr, reason = "a skipped test says why")]
    fn of(kinds: &[Self]) -> Vec<Self> {
        if module().is_none() {
            eprintln!(
                "skipped: the module is not built; build it with `cargo build -p ferrite-valkey`, or let FERRITE_VALKEY_MODULE name it"
            );
            return Vec::new();
        }
        kinds
            .iter()
            .copied()
            .filter(|kind| {
                let there = kind.program().is_some();
                if !there {
                    eprintln!("skipped: {} names no server", kind.variable());
                }
                there
            })
            .collect()
    }

    /// The kinds of [`EngineKind::ENDS`] that are here, for tests that need no module; prints the missing
    /// ones on standard error.
    #[must_use]
    #[expect(clippy::print_stderr, reason = "a skipped test says why")]
    pub fn unmodified_here() -> Vec<Self> {
        let kinds = Self::ENDS.into_iter().filter(|kind| {
            let there = kind.program().is_some();
            if !there {
                eprintln!("skipped: {} names no server", kind.variable());
            }
            there
        });
        kinds.collect()
    }

    /// Starts servers of this kind.
    #[must_use]
    pub fn builder(self) -> EngineBuilder {
        EngineBuilder {
            kind: self,
            module_arguments: Vec::new(),
            arguments: Vec::new(),
            dir: None,
            port: None,
            unmodified: false,
            without_compiler: false,
            sentinel_of: None,
            configuration: Vec::new(),
        }
    }

    /// Starts a server with the module and default settings.
    #[must_use]
    pub fn start(self) -> Engine {
        self.builder().start()
    }
}

/// The module's library, if it exists.
fn module() -> Option<PathBuf> {
    let path = env::var_os("FERRITE_VALKEY_MODULE")
        .map_or_else(|| target_dir().join("libferrite_valkey.so"), PathBuf::from);
    path.is_file().then_some(path)
}

/// The log line of a Sentinel that is ready.
const SENTINEL_READY: &str = "Sentinel ID is";

/// Starts servers.
#[derive(Debug)]
pub struct EngineBuilder {
    kind: EngineKind,
    module_arguments: Vec<String>,
    arguments: Vec<String>,
    dir: Option<PathBuf>,
    port: Option<u16>,
    unmodified: bool,
    without_compiler: bool,
    sentinel_of: Option<(String, u16)>,
    configuration: Vec<String>,
}

impl EngineBuilder {
    /// Lets the module find no compiler.
    #[must_use]
    pub const fn without_compiler(mut self) -> Self {
        self.without_compiler = true;
        self
    }

    /// Makes it a Sentinel that alone decides about the primary at this port, which it calls `name`.
    #[must_use]
    pub fn sentinel_of(mut self, name: &str, port: u16) -> Self {
        self.sentinel_of = Some((name.to_owned(), port));
        self.unmodified()
    }

    /// Adds lines to the configuration of a Sentinel.
    #[must_use]
    pub fn configuration(mut self, lines: &[&str]) -> Self {
        self.configuration
            .extend(lines.iter().map(|line| (*line).to_owned()));
        self
    }

    /// Loads no module.
    #[must_use]
    pub const fn unmodified(mut self) -> Self {
        self.unmodified = true;
        self
    }

    /// Adds arguments of the module.
    #[must_use]
    pub fn module(mut self, arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(|argument| (*argument).to_owned());
        self.module_arguments.extend(arguments);
        self
    }

    /// Adds arguments of the server.
    #[must_use]
    pub fn arguments(mut self, arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(|argument| (*argument).to_owned());
        self.arguments.extend(arguments);
        self
    }

    /// Works in this folder, which stays afterwards, instead of a temporary one.
    #[must_use]
    pub fn dir(mut self, dir: &Path) -> Self {
        self.dir = Some(dir.to_owned());
        self
    }

    /// Listens on this port, for a server that takes another's place.
    #[must_use]
    pub const fn port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// Starts the server and waits until it is ready.
    ///
    /// # Panics
    ///
    /// If it ends instead; the message contains its log.
    #[must_use]
    pub fn start(self) -> Engine {
        self.try_start()
            .unwrap_or_else(|log| panic!("the server did not start:\n{log}"))
    }

    /// Like [`EngineBuilder::start`], but returns the log as an error if the server ends.
    ///
    /// # Panics
    ///
    /// If it cannot be started.
    pub fn try_start(self) -> Result<Engine, String> {
        let temporary = match self.dir {
            Some(_) => None,
            None => Some(tempfile::tempdir().expect("a temporary folder")),
        };
        let dir = self.dir.unwrap_or_else(|| {
            let temporary = temporary.as_ref().expect("one of them was made");
            temporary.path().to_owned()
        });
        let port = self.port.unwrap_or_else(free_port);
        let mut command = Command::new(self.kind.program().expect("the caller looked"));
        let mut ready_line = READY;
        if let Some((name, primary)) = &self.sentinel_of {
            let path = dir.join("sentinel.conf");
            let lines = self.configuration.join("\n");
            let text = format!(
                "sentinel monitor {name} 127.0.0.1 {primary} 1\nsentinel down-after-milliseconds {name} 2000\nsentinel failover-timeout {name} 3000\n{lines}\n"
            );
            fs::write(&path, text).expect("the configuration can be written");
            command.arg(path).arg("--sentinel");
            ready_line = SENTINEL_READY;
        }
        command
            .args(["--bind", "127.0.0.1", "--port"])
            .arg(port.to_string())
            .arg("--dir")
            .arg(&dir);
        if self.sentinel_of.is_none() {
            command
                .args(["--save", "", "--enable-debug-command", "yes"])
                .args(["--enable-module-command", "yes"]);
        }
        if !self.unmodified {
            command
                .arg("--loadmodule")
                .arg(module().expect("the caller looked"));
            if self.without_compiler {
                command.env("PATH", "/nonexistent");
            } else {
                command
                    .arg("compiler")
                    .arg(program("ferrite-wasmc", "FERRITE_WASMC_BIN"));
            }
            command.args(&self.module_arguments);
        }
        command
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut child = command.spawn().expect("the server can be run");
        let stdout = child.stdout.take().expect("stdout is a pipe");
        let log = Arc::new(Mutex::new(String::new()));
        let (ready, is_ready) = channel();
        let kept = Arc::clone(&log);
        thread::spawn(move || {
            for line in BufReader::new(stdout).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line).into_owned();
                let serves = line.contains(ready_line);
                let mut log = kept.lock().unwrap_or_else(PoisonError::into_inner);
                log.push_str(&line);
                log.push('\n');
                drop(log);
                if serves {
                    // The receiver is gone if the server prints this line again.
                    let _ = ready.send(());
                }
            }
        });
        let engine = Engine {
            child,
            port,
            dir,
            log,
            _temporary: temporary,
        };
        engine.wait_ready(&is_ready)
    }
}

/// A running server; the process is killed when this is dropped.
#[derive(Debug)]
pub struct Engine {
    child: Child,
    port: u16,
    dir: PathBuf,
    log: Arc<Mutex<String>>,
    _temporary: Option<TempDir>,
}

impl Engine {
    fn wait_ready(mut self, ready: &Receiver<()>) -> Result<Self, String> {
        // The sender is dropped when the server closes its output, that is, when it ends.
        if ready.recv().is_ok() {
            return Ok(self);
        }
        self.child.wait().expect("our own child");
        Err(self.log())
    }

    /// The address for clients.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// The port that it listens on.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Opens a new connection.
    #[must_use]
    pub fn client(&self) -> Client {
        Client::connect(self.address())
    }

    /// The folder that the server works in.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The log so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.log
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The id of the process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A field of `/proc/<pid>/status`, in KiB.
    ///
    /// # Panics
    ///
    /// If there is no such field.
    #[must_use]
    pub fn memory_kib(&self, field: &str) -> u64 {
        memory_kib(self.pid(), field)
    }

    /// Kills the server at once, as a crash would.
    ///
    /// # Panics
    ///
    /// If it is not our child any more.
    pub fn kill(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        self.child.wait().expect("our own child");
    }

    /// Sends a signal.
    ///
    /// # Panics
    ///
    /// If the process is gone.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.expect("a process has a number"), signal).expect("our own child");
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // It may have ended already, as some tests want it to.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns a port that is free now. It is below 32768, so that no connection of a test takes it
/// before the server does.
///
/// # Panics
///
/// If all are taken.
#[must_use]
pub fn free_port() -> u16 {
    // A cluster's bus uses the port 10000 above, which no other server of the tests uses.
    const PORTS: u16 = 10_000;
    let start = u16::try_from(std::process::id() % u32::from(PORTS)).unwrap_or(0);
    (0..PORTS)
        .map(|offset| 12_000 + (start + offset) % PORTS)
        .find(|&port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() && claim(port))
        .expect("a port is free")
}

/// Keeps two tests, which are separate processes, from choosing the same port.
fn claim(port: u16) -> bool {
    let path = env::temp_dir().join(format!("ferrite-test-port-{port}"));
    let recent = |path: &Path| {
        let modified = fs::metadata(path).and_then(|found| found.modified());
        modified.is_ok_and(|at| at.elapsed().is_ok_and(|age| age.as_secs() < 600))
    };
    if path.exists() && !recent(&path) {
        // Left by a run long ago.
        let _ = fs::remove_file(&path);
    }
    fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&path)
        .is_ok()
}
