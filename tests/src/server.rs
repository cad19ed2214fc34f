//! The real server as a child process, in a folder of its own.

use std::ffi::OsString;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, prlimit};
use tempfile::TempDir;

use crate::client::Client;
use crate::program::{command, program};

/// Starts servers.
#[derive(Debug, Default)]
pub struct ServerBuilder {
    arguments: Vec<String>,
    config: Option<String>,
    dir: Option<PathBuf>,
    without_compiler: bool,
    wrapper: Vec<OsString>,
    log: Option<PathBuf>,
}

impl ServerBuilder {
    /// Writes the log to this file instead of one in the server's folder.
    #[must_use]
    pub fn log(mut self, path: &Path) -> Self {
        self.log = Some(path.to_owned());
        self
    }

    /// Has another program start the server: its path and arguments, after which the server's
    /// command line follows. It must become the server, or stand for it.
    #[must_use]
    pub fn wrapper<W: Into<OsString>>(mut self, words: impl IntoIterator<Item = W>) -> Self {
        self.wrapper = words.into_iter().map(Into::into).collect();
        self
    }

    /// Starts the server from a shell, after this line of it, such as `ulimit -n 64`.
    #[must_use]
    pub fn shell(self, line: &str) -> Self {
        self.wrapper(["sh", "-c", &format!("{line}; exec \"$@\""), "sh"])
    }

    /// Adds flags.
    #[must_use]
    pub fn arguments(mut self, arguments: &[&str]) -> Self {
        self.arguments
            .extend(arguments.iter().map(|argument| (*argument).to_owned()));
        self
    }

    /// Writes a configuration file and starts the server with it.
    #[must_use]
    pub fn config(mut self, text: &str) -> Self {
        self.config = Some(text.to_owned());
        self
    }

    /// Works in this folder, which stays afterwards, instead of a temporary one.
    #[must_use]
    pub fn dir(mut self, dir: &Path) -> Self {
        self.dir = Some(dir.to_owned());
        self
    }

    /// Gives the server a compiler that cannot be run.
    #[must_use]
    pub const fn without_compiler(mut self) -> Self {
        self.without_compiler = true;
        self
    }

    /// Starts the server and waits until it listens.
    ///
    /// # Panics
    ///
    /// If it ends instead; the message contains its log.
    #[must_use]
    pub fn start(self) -> Server {
        self.try_start()
            .unwrap_or_else(|log| panic!("the server did not start:\n{log}"))
    }

    /// Like [`ServerBuilder::start`], but returns the log as an error if the server ends.
    ///
    /// # Panics
    ///
    /// If it cannot be started.
    pub fn try_start(self) -> Result<Server, String> {
        let temporary = match self.dir {
            Some(_) => None,
            None => Some(tempfile::tempdir().expect("a temporary folder")),
        };
        let dir = match (&self.dir, &temporary) {
            (Some(dir), _) => dir.clone(),
            (None, Some(temporary)) => temporary.path().to_owned(),
            (None, None) => unreachable!("one of them was made"),
        };
        let log_path = self.log.unwrap_or_else(|| dir.join("server.log"));
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&log_path)
            .expect("the log can be written");
        let mut command = command("ferrite-server", "FERRITE_SERVER_BIN");
        if let [wrapper, words @ ..] = &self.wrapper[..] {
            let server = command;
            command = Command::new(wrapper);
            command.args(words).arg(server.get_program());
            for (variable, _) in server.get_envs() {
                command.env_remove(variable);
            }
        }
        command.arg("--port=0").arg("--dir").arg(&dir);
        if let Some(text) = &self.config {
            let path = dir.join("ferrite.toml");
            fs::write(&path, text).expect("the configuration can be written");
            command.arg("--config").arg(path);
        }
        let compiler = if self.without_compiler {
            PathBuf::from("/nonexistent/ferrite-wasmc")
        } else {
            program("ferrite-wasmc", "FERRITE_WASMC_BIN")
        };
        let mut child = command
            .arg("--wasm-compiler")
            .arg(compiler)
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("the server can be run");
        let stdout = child.stdout.take().expect("stdout is a pipe");
        let mut line = String::new();
        BufReader::new(stdout)
            .read_line(&mut line)
            .expect("stdout is text");
        let Some(addresses) = line.strip_prefix("ready ") else {
            if !line.is_empty() {
                // It runs, and nobody would end it.
                child.kill().expect("our own child");
            }
            child.wait().expect("our own child");
            return Err(fs::read_to_string(&log_path).unwrap_or_default());
        };
        Ok(Server {
            child,
            addresses: addresses.trim().to_owned(),
            dir,
            log_path,
            _temporary: temporary,
        })
    }
}

/// A running server; the process is killed when this is dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    addresses: String,
    dir: PathBuf,
    log_path: PathBuf,
    _temporary: Option<TempDir>,
}

impl Server {
    /// Starts a server with default settings.
    #[must_use]
    pub fn start() -> Self {
        Self::builder().start()
    }

    /// Returns a builder for a server with other settings.
    #[must_use]
    pub fn builder() -> ServerBuilder {
        ServerBuilder::default()
    }

    /// The address that the server printed for one kind: `resp`, `tls` or `metrics`.
    ///
    /// # Panics
    ///
    /// If it printed none.
    #[must_use]
    pub fn address_of(&self, kind: &str) -> SocketAddr {
        self.addresses
            .split(' ')
            .find_map(|word| word.strip_prefix(kind)?.strip_prefix('='))
            .unwrap_or_else(|| panic!("no {kind} address among {:?}", self.addresses))
            .parse()
            .expect("an address")
    }

    /// The address for clients.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address_of("resp")
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
        fs::read_to_string(&self.log_path).unwrap_or_default()
    }

    /// The id of the process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
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

    /// Sends a signal to a process that may be gone.
    pub fn try_signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        // It is not waited for yet, so the number is still its own.
        let _ = pid.map(|pid| kill_process(pid, signal));
    }

    /// Waits for the process to end by itself; `None` if it does not for a minute.
    ///
    /// # Panics
    ///
    /// If it is not our child any more.
    pub fn wait_briefly(&mut self) -> Option<ExitStatus> {
        let until = Instant::now() + Duration::from_secs(60);
        while Instant::now() < until {
            if let Some(status) = self.child.try_wait().expect("our own child") {
                return Some(status);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        None
    }

    /// Waits for the process to end by itself.
    ///
    /// # Panics
    ///
    /// If it is not our child any more.
    pub fn wait(&mut self) -> ExitStatus {
        self.child.wait().expect("our own child")
    }

    /// Asks the server to stop and waits until it has.
    pub fn stop(mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait()
    }

    /// Stops the server and passes its whole log to `look`; returns true if it exited with success.
    pub fn stop_and_log(mut self, look: impl FnOnce(&str)) -> bool {
        self.signal(Signal::TERM);
        let ended = self.wait();
        look(&self.log());
        ended.success()
    }

    /// The number of its open files.
    ///
    /// # Panics
    ///
    /// If the process is gone.
    #[must_use]
    pub fn open_files(&self) -> usize {
        let folder = format!("/proc/{}/fd", self.pid());
        fs::read_dir(folder).expect("the process is there").count()
    }

    /// The highest descriptor that it has open.
    ///
    /// # Panics
    ///
    /// If the process is gone.
    #[must_use]
    pub fn highest_open_file(&self) -> u64 {
        let folder = format!("/proc/{}/fd", self.pid());
        let numbers = fs::read_dir(folder).expect("the process is there");
        numbers
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .max()
            .expect("it listens")
    }

    /// Limits the number of its open files from now on.
    ///
    /// # Panics
    ///
    /// If the system refuses.
    pub fn limit_open_files(&self, files: u64) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let limit = Rlimit {
            current: Some(files),
            maximum: getrlimit(Resource::Nofile).maximum,
        };
        prlimit(pid, Resource::Nofile, limit).expect("our own child");
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
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already, as some tests want it to.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A field of `/proc/<pid>/status`, in KiB.
pub(crate) fn memory_kib(pid: u32, field: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process is there");
    status
        .lines()
        .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))
        .and_then(|rest| rest.trim().trim_end_matches("kB").trim().parse().ok())
        .unwrap_or_else(|| panic!("no {field} in the process's status"))
}
