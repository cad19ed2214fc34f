//! The sandbox of the compile worker, a process that compiles untrusted code.
//!
//! A worker reads a module from one pipe and writes native code to another; it needs memory,
//! threads and processor time, and nothing else. [`enter`] removes everything else before the first
//! untrusted byte is read: files and network (landlock and seccomp), new processes and programs
//! (seccomp), inherited descriptors. Resource limits bound memory and processor time. The sandbox
//! cannot be left, and threads that start later inherit it.
//!
//! It is made of what Linux has. On other systems there is no worker: [`enter`] fails.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
mod syscalls;

use std::fmt;

/// Resource limits of the worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SandboxLimits {
    /// Address space, in bytes.
    pub address_space_bytes_max: u64,
    /// Processor time of all threads together, in seconds.
    pub processor_seconds_max: u64,
}

impl Default for SandboxLimits {
    /// 4 GiB and two minutes. Cranelift needs about 100 bytes of memory a byte of code, and 64 MiB
    /// of source that is all code takes it a minute on one core.
    fn default() -> Self {
        Self {
            address_space_bytes_max: 4 << 30,
            processor_seconds_max: 120,
        }
    }
}

/// Reports which parts of the sandbox the kernel supports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SandboxStatus {
    /// Support of landlock. Seccomp refuses the same calls, so landlock is a second line of defence.
    pub landlock: Landlock,
}

/// The kernel's support of landlock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Landlock {
    /// All requested rules are enforced.
    Full,
    /// An older kernel enforces a part of the rules.
    Partial,
    /// The kernel lacks landlock, or it is switched off.
    Absent,
}

impl fmt::Display for Landlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "full",
            Self::Partial => "partial",
            Self::Absent => "absent",
        })
    }
}

/// The sandbox could not be set up; the worker must not continue.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// A resource limit could not be set.
    #[error("the resource limit {resource} could not be set")]
    ResourceLimit {
        /// The limit.
        resource: &'static str,
        /// The kernel's error.
        #[source]
        source: rustix::io::Errno,
    },
    /// A property of the process could not be set.
    #[error("{property} could not be set for the process")]
    Process {
        /// The property.
        property: &'static str,
        /// The kernel's error.
        #[source]
        source: rustix::io::Errno,
    },
    /// Inherited descriptors could not be closed.
    #[error("inherited file descriptors could not be closed")]
    Descriptors(#[source] std::io::Error),
    /// Landlock refused the rules.
    #[cfg(target_os = "linux")]
    #[error("the landlock rules could not be applied")]
    Landlock(#[source] landlock::RulesetError),
    /// The filter of system calls could not be built or applied.
    #[cfg(target_os = "linux")]
    #[error("the system call filter could not be applied")]
    Filter(#[source] seccompiler::Error),
    /// This system has no sandbox for the worker.
    #[cfg(not(target_os = "linux"))]
    #[error(
        "modules of others are compiled in a sandbox, which only Linux has; compile your own with `ferrite-wasmc compile`"
    )]
    Unsupported,
}

/// Removes from this thread, and from all that it starts, every right that a compilation does not
/// need.
///
/// Call it first in a process of its own, before starting a thread and before reading untrusted
/// input.
pub fn enter(limits: SandboxLimits) -> Result<SandboxStatus, SandboxError> {
    #[cfg(target_os = "linux")]
    return linux::enter(limits);
    #[cfg(not(target_os = "linux"))]
    {
        let _ = limits;
        Err(SandboxError::Unsupported)
    }
}
