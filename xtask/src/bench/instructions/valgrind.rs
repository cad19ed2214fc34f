//! A server under callgrind.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::run;
use crate::server::{Server, free_port};
use crate::tools::{self, Python};
use crate::workspace::Workspace;

/// A Valkey whose instructions can be counted.
pub(super) struct Counted {
    pub(super) server: Server,
    /// Folder with the counts.
    folder: PathBuf,
    control: PathBuf,
    /// Counts so far.
    counts: u32,
}

impl Counted {
    /// Starts Valkey without persistence under callgrind, which counts nothing yet.
    ///
    /// # Errors
    /// If valgrind or Valkey is not there, or does not start.
    pub(super) fn start(workspace: &Workspace, folder: &Path, arguments: &[&str]) -> Result<Self> {
        let find = |program: &str| {
            let what = || {
                format!(
                    "instructions are counted by {program}, which is not installed (on Debian: apt-get install valgrind)"
                )
            };
            tools::on_path(program).with_context(what)
        };
        let (valgrind, control) = (find("valgrind")?, find("callgrind_control")?);
        let valkey = Python::ensure(workspace)?.valkey_server()?;
        let port = free_port()?;
        // This program refuses the call of the system, and becomes valgrind.
        let mut command = workspace.command(std::env::current_exe()?);
        command.args(["without-auxv"]).arg(valgrind).args([
            "--tool=callgrind",
            "--instr-atstart=no",
            // The native code of functions is written while the server runs.
            "--smc-check=all-non-file",
        ]);
        command.arg(format!(
            "--callgrind-out-file={}",
            folder.join("count").display()
        ));
        command.arg(valkey).args(["--bind", "127.0.0.1"]);
        command.args(["--save", "", "--appendonly", "no"]);
        // The server's own clock is to add as little as it can.
        command.args(["--hz", "1", "--dynamic-hz", "no"]);
        command.args(["--port", &port.to_string(), "--dir"]);
        command.arg(folder).args(arguments);
        Ok(Self {
            server: Server::start(&mut command, port, &folder.join("valkey.log"))?,
            folder: folder.to_owned(),
            control,
            counts: 0,
        })
    }

    /// Counts the instructions of the whole server, all threads, while `work` is done.
    ///
    /// # Errors
    /// If the work fails, or callgrind does not answer.
    pub(super) fn count(&mut self, work: impl FnOnce(&Server) -> Result<()>) -> Result<u64> {
        self.tell(&["-i", "on"])?;
        work(&self.server)?;
        self.tell(&["-i", "off"])?;
        // It writes a file, with a number behind its name, and begins at zero again.
        self.tell(&["-d"])?;
        self.counts += 1;
        let path = self.folder.join(format!("count.{}", self.counts));
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("callgrind did not write {}", path.display()))?;
        total(&text).with_context(|| format!("{} has no total", path.display()))
    }

    fn tell(&self, what: &[&str]) -> Result<()> {
        let mut command = Command::new(&self.control);
        command.args(what).arg(self.server.id().to_string());
        run::output(&mut command).map(drop)
    }
}

/// Returns the sum in a file that callgrind wrote.
fn total(text: &str) -> Option<u64> {
    let line = |name| text.lines().find_map(|line| line.strip_prefix(name));
    line("totals:")
        .or_else(|| line("summary:"))?
        .trim()
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::total;

    #[test]
    fn the_total_is_read() {
        let text = "version: 1\nevents: Ir\nfl=(1) a.c\n12 34\nsummary: 40\ntotals: 41\n";
        assert_eq!(total(text), Some(41));
        assert_eq!(total("events: Ir\nsummary: 40\n"), Some(40));
        assert_eq!(total("events: Ir\n"), None);
    }
}
