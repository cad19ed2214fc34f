//! Allows the system calls that a compilation needs; every other one fails with `EPERM`.
#![allow(
    unsafe_code,
    reason = "close_range has no safe wrapper; it is called once, before the worker owns descriptors"
)]

use std::collections::BTreeMap;
use std::io;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};

/// Calls that are allowed with any arguments: reading and writing open descriptors, memory, threads,
/// signal handling, time, randomness, exit.
const ALLOWED: &[i64] = &[
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_close,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_brk,
    libc::SYS_futex,
    libc::SYS_clone3,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_membarrier,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_sigaltstack,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigreturn,
    libc::SYS_restart_syscall,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_getrandom,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

/// Closes every descriptor but standard input, output and error.
pub(super) fn close_inherited() -> io::Result<()> {
    // SAFETY: this runs first thing in the worker's process, where no code owns a descriptor past
    // the standard ones yet, so none that is in use is closed.
    let result = unsafe { libc::syscall(libc::SYS_close_range, 3_u32, u32::MAX, 0_u32) };
    if result == 0 {
        return Ok(());
    }
    Err(io::Error::last_os_error())
}

/// Applies the filter to this thread and all that it starts.
pub(super) fn filter() -> Result<(), seccompiler::Error> {
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    // A filter cannot read the flags of `clone3`. The C library falls back to `clone` if `clone3`
    // seems to be missing. With several filters, the most restrictive answer wins.
    let no_clone3 = SeccompFilter::new(
        BTreeMap::from([(libc::SYS_clone3, Vec::new())]),
        SeccompAction::Allow,
        SeccompAction::Errno(libc::ENOSYS as u32),
        arch,
    )?;
    let allowed = SeccompFilter::new(
        rules()?,
        SeccompAction::Errno(libc::EPERM as u32),
        SeccompAction::Allow,
        arch,
    )?;
    for filter in [no_clone3, allowed] {
        let program = BpfProgram::try_from(filter)?;
        seccompiler::apply_filter(&program)?;
    }
    Ok(())
}

fn rules() -> Result<BTreeMap<i64, Vec<SeccompRule>>, seccompiler::Error> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        ALLOWED.iter().map(|&call| (call, Vec::new())).collect();
    // Memory, but never executable memory: a compiler has no need to run what it makes.
    let not_executable = || bits(2, libc::PROT_EXEC as u64, 0);
    rules.insert(libc::SYS_mmap, vec![not_executable()?]);
    rules.insert(libc::SYS_mprotect, vec![not_executable()?]);
    // Threads, but no processes.
    let thread = libc::CLONE_THREAD as u64;
    rules.insert(libc::SYS_clone, vec![bits(0, thread, thread)?]);
    // A thread's own name.
    rules.insert(libc::SYS_prctl, vec![equals(0, libc::PR_SET_NAME as u64)?]);
    // Signals to this process alone, so that an abort still looks like one.
    let own = u64::from(std::process::id());
    rules.insert(libc::SYS_tgkill, vec![equals(0, own)?]);
    Ok(rules)
}

/// Matches if the argument's bits under `mask` have this value.
fn bits(argument: u8, mask: u64, value: u64) -> Result<SeccompRule, seccompiler::Error> {
    rule(argument, SeccompCmpOp::MaskedEq(mask), value)
}

/// Matches if the argument has this value.
fn equals(argument: u8, value: u64) -> Result<SeccompRule, seccompiler::Error> {
    rule(argument, SeccompCmpOp::Eq, value)
}

fn rule(
    argument: u8,
    operator: SeccompCmpOp,
    value: u64,
) -> Result<SeccompRule, seccompiler::Error> {
    let condition = SeccompCondition::new(argument, SeccompCmpArgLen::Qword, operator, value)?;
    Ok(SeccompRule::new(vec![condition])?)
}
