//! The parts of the sandbox: resource limits, properties of the process, landlock.

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, RulesetAttr, RulesetStatus, Scope,
};
use rustix::process::{DumpableBehavior, Resource, Rlimit, Signal};

use super::{Landlock, SandboxError, SandboxLimits, SandboxStatus, syscalls};

/// Enters the sandbox; see [`enter`](super::enter).
pub(super) fn enter(limits: SandboxLimits) -> Result<SandboxStatus, SandboxError> {
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
