//! Figures of the process, as the system gives them.

use std::time::{SystemTime, UNIX_EPOCH};

use rustix::process::{Resource, getrlimit};

/// Figures of the process. What the system does not say is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct ProcessFigures {
    /// Processor time in user mode, in seconds.
    pub(crate) user_seconds: f64,
    /// Processor time in the kernel, in seconds.
    pub(crate) system_seconds: f64,
    pub(crate) threads: u64,
    /// Address space.
    pub(crate) virtual_bytes: u64,
    pub(crate) resident_bytes: u64,
    /// The most that was resident so far.
    pub(crate) resident_bytes_peak: u64,
    pub(crate) open_files: u64,
    pub(crate) open_files_max: u64,
}

impl ProcessFigures {
    /// Reads the figures of now.
    pub(crate) fn read() -> Self {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let kibibytes = |name: &str| field(&status, name) * 1024;
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let [user_seconds, system_seconds] = processor_seconds(&stat);
        let open = std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
        Self {
            user_seconds,
            system_seconds,
            threads: field(&status, "Threads"),
            virtual_bytes: kibibytes("VmSize"),
            resident_bytes: kibibytes("VmRSS"),
            resident_bytes_peak: kibibytes("VmHWM"),
            // Reading the folder opens one itself.
            open_files: (open as u64).saturating_sub(1),
            open_files_max: getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX),
        }
    }
}

/// Reads a number of `/proc/self/status`.
fn field(status: &str, name: &str) -> u64 {
    status
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        .and_then(|value| value.split_ascii_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}

/// Reads the processor times of `/proc/self/stat`, which counts them in ticks.
fn processor_seconds(stat: &str) -> [f64; 2] {
    // The name of the program stands in brackets and may hold anything.
    let fields: Vec<&str> = stat
        .rsplit_once(')')
        .map_or("", |(_, fields)| fields)
        .split_ascii_whitespace()
        .collect();
    [11, 12].map(|at| {
        let ticks: Option<u64> = fields.get(at).and_then(|field| field.parse().ok());
        ticks.unwrap_or(0) as f64 / rustix::param::clock_ticks_per_second() as f64
    })
}

/// Returns the seconds since 1970.
pub(crate) fn unix_seconds() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

/// Returns the memory of the machine, in bytes; 0 if the system does not say.
pub(crate) fn machine_memory_bytes() -> u64 {
    std::fs::read_to_string("/proc/meminfo").map_or(0, |text| field(&text, "MemTotal") * 1024)
}

#[cfg(test)]
mod tests {
    use super::{ProcessFigures, machine_memory_bytes, processor_seconds};

    #[test]
    fn a_running_process_has_figures() {
        let figures = ProcessFigures::read();
        assert!(figures.resident_bytes > 0 && figures.virtual_bytes > figures.resident_bytes);
        assert!(figures.resident_bytes_peak > 0 && figures.threads > 0);
        assert!(figures.open_files >= 3 && figures.open_files_max >= figures.open_files);
        assert!(machine_memory_bytes() > figures.resident_bytes);
    }

    #[test]
    fn the_name_of_a_program_confuses_nobody() {
        let rest = "S 1 2 3 4 5 6 7 8 9 10 250 50 0";
        assert_eq!(processor_seconds(&format!("7 (a) b) {rest}")), [2.5, 0.5]);
        assert_eq!(processor_seconds(""), [0.0, 0.0]);
    }
}
