//! The sandbox of the compile worker, a process that compiles untrusted code.
//!
//! A worker reads a module from one pipe and writes native code to another; it needs memory,
//! threads and processor time, and nothing else. [`enter`] removes everything else before the first
//! untrusted byte is read: files and network (landlock and seccomp), new processes and programs
//! (seccomp), inherited descriptors. Resource limits bound memory and processor time. The sandbox
//! cannot be left, and threads that start later inherit it.

mod syscalls;

use std::fmt;

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, RulesetAttr, RulesetStatus, Scope,
};
use rustix::process::{DumpableBehavior, Resource, Rlimit, Signal};

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
    #[error("the landlock rules could not be applied")]
    Landlock(#[source] landlock::RulesetError),
    /// The filter of system calls could not be built or applied.
    #[error("the system call filter could not be applied")]
    Filter(#[source] seccompiler::Error),
}

/// Removes from this thread, and from all that it starts, every right that a compilation does not
/// need.
///
/// Call it first in a process of its own, before starting a thread and before reading untrusted
/// input.
pub fn enter(limits: SandboxLimits) -> Result<SandboxStatus, SandboxError> {
    set_limits(limits)?;
    let process =
        |property| move |source: rustix::io::Errno| SandboxError::Process { property, source };
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(process("the parent's death signal"))?;
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(process("non-dumpable"))?;
    rustix::thread::set_no_new_privs(true).map_err(process("no-new-privileges"))?;
    syscalls::close_inherited().map_err(SandboxError::Descriptors)?;
    let landlock = deny_paths_and_ports().map_err(SandboxError::Landlock)?;
    syscalls::filter().map_err(SandboxError::Filter)?;
    Ok(SandboxStatus { landlock })
}

fn set_limits(limits: SandboxLimits) -> Result<(), SandboxError> {
    let SandboxLimits {
        address_space_bytes_max,
        processor_seconds_max,
    } = limits;
    for (name, resource, most) in [
        ("RLIMIT_AS", Resource::As, address_space_bytes_max),
        ("RLIMIT_CPU", Resource::Cpu, processor_seconds_max),
        ("RLIMIT_CORE", Resource::Core, 0),
        ("RLIMIT_FSIZE", Resource::Fsize, 0),
    ] {
        let limit = Rlimit {
            current: Some(most),
            maximum: Some(most),
        };
        rustix::process::setrlimit(resource, limit).map_err(|source| {
            SandboxError::ResourceLimit {
                resource: name,
                source,
            }
        })?;
    }
    Ok(())
}

/// Enters a landlock domain that allows no path, port, signal or abstract socket.
fn deny_paths_and_ports() -> Result<Landlock, landlock::RulesetError> {
    // The newest set of rights that this code knows; an older kernel enforces those it has.
    const NEWEST: ABI = ABI::V6;
    let status = landlock::Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(NEWEST))?
        .handle_access(AccessNet::from_all(NEWEST))?
        .scope(Scope::from_all(NEWEST))?
        .create()?
        .restrict_self()?;
    Ok(match status.ruleset {
        RulesetStatus::FullyEnforced => Landlock::Full,
        RulesetStatus::PartiallyEnforced => Landlock::Partial,
        RulesetStatus::NotEnforced => Landlock::Absent,
    })
}
