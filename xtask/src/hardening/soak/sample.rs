//! The system's figures of a process at one moment.

use std::fmt::{self, Display, Formatter};
use std::fs;
use std::time::Duration;

/// One sample.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    pub(super) seconds: f64,
    /// Memory of the process alone.
    pub(super) anonymous_kib: u64,
    /// Pages of files, such as the program's own code, which come as they are touched.
    pub(super) file_kib: u64,
    pub(super) mappings: u64,
    pub(super) open_files: u64,
    pub(super) threads: u64,
    /// Requests answered so far.
    pub(super) requests: u64,
}

/// A curve: its name, its value in a sample, and how much it may grow beyond a tenth.
type Curve = (&'static str, fn(&Sample) -> f64, f64);

impl Sample {
    /// The names of the columns.
    pub(super) const HEAD: &'static str =
        "seconds,anonymous_kib,file_kib,mappings,open_files,threads,requests";

    /// The curves that are compared.
    pub(super) const CURVES: [Curve; 4] = [
        ("memory KiB", |sample| sample.anonymous_kib as f64, 8192.0),
        ("mappings", |sample| sample.mappings as f64, 64.0),
        ("open files", |sample| sample.open_files as f64, 16.0),
        ("threads", |sample| sample.threads as f64, 8.0),
    ];

    /// Looks at a process; `None` if it has ended.
    pub(super) fn take(process: u32, since: Duration, requests: u64) -> Option<Self> {
        let folder = format!("/proc/{process}");
        let status = fs::read_to_string(format!("{folder}/status")).ok()?;
        let field = |name: &str| -> Option<u64> {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim().trim_end_matches(" kB").parse().ok()
        };
        Some(Self {
            seconds: since.as_secs_f64(),
            anonymous_kib: field("RssAnon:")?,
            file_kib: field("RssFile:")?,
            threads: field("Threads:")?,
            mappings: fs::read_to_string(format!("{folder}/maps"))
                .ok()?
                .lines()
                .count() as u64,
            open_files: fs::read_dir(format!("{folder}/fd")).ok()?.count() as u64,
            requests,
        })
    }
}

impl Display for Sample {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self {
            seconds,
            anonymous_kib,
            file_kib,
            mappings,
            open_files,
            threads,
            requests,
        } = self;
        write!(
            f,
            "{seconds:.1},{anonymous_kib},{file_kib},{mappings},{open_files},{threads},{requests}"
        )
    }
}
