//! The machine that the figures were measured on.

use serde::{Deserialize, Serialize};

use crate::binaries::BuildProfile;
use crate::run;
use crate::workspace::Workspace;

/// The machine, and the version of the sources.
#[derive(Serialize, Deserialize)]
pub(in crate::bench) struct Machine {
    pub(in crate::bench) processor: String,
    pub(in crate::bench) cores: usize,
    pub(in crate::bench) memory_gib: u64,
    pub(in crate::bench) kernel: String,
    pub(in crate::bench) rustc: String,
    pub(in crate::bench) commit: String,
    /// The profile that the binaries were built with.
    pub(in crate::bench) profile: String,
}

impl Machine {
    pub(in crate::bench) fn here(workspace: &Workspace, profile: BuildProfile) -> Self {
        let say = |program: &str, arguments: &[&str]| {
            let said = run::output(workspace.command(program).args(arguments)).unwrap_or_default();
            said.trim().to_owned()
        };
        let field = |file: &str, name: &str| {
            let text = std::fs::read_to_string(file).unwrap_or_default();
            let value = text
                .lines()
                .find(|line| line.starts_with(name))
                .and_then(|line| line.split_once(':'));
            value
                .map(|(_, value)| value.trim().to_owned())
                .unwrap_or_default()
        };
        let kib = field("/proc/meminfo", "MemTotal");
        let kib: u64 = kib
            .split(' ')
            .next()
            .and_then(|number| number.parse().ok())
            .unwrap_or_default();
        Self {
            processor: field("/proc/cpuinfo", "model name"),
            cores: std::thread::available_parallelism().map_or(1, Into::into),
            memory_gib: kib.div_ceil(1 << 20),
            kernel: say("uname", &["-sr"]),
            rustc: say("rustc", &["--version"]),
            commit: say("git", &["rev-parse", "--short", "HEAD"]),
            profile: profile.name().to_owned(),
        }
    }
}
