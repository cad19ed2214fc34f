//! `cargo xtask without-auxv`: becomes another program, to which the kernel does not tell its auxiliary vector.
//!
//! Valgrind hides the kernel's page of code from the program that it runs. A program that asks for the vector by
//! `prctl(PR_GET_AUXV)` instead of reading it where it began finds the page, and valgrind stops at its code.

use std::ffi::OsString;

use anyhow::Result;

/// The program to become.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// The program, and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<OsString>,
}

/// Refuses the call of the system for this process, and becomes the program. Returns only if that fails.
///
/// # Errors
/// If the system has no such filters, or the program cannot be started.
#[cfg(target_os = "linux")]
pub(crate) fn run(options: &Options) -> Result<()> {
    use std::collections::BTreeMap;
    use std::os::unix::process::CommandExt as _;

    use anyhow::Context as _;
    use seccompiler::{
        BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
        SeccompRule,
    };

    /// `PR_GET_AUXV` of `linux/prctl.h`.
    const GET_AUXV: u64 = 0x4155_5856;
    let is_it = SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, GET_AUXV)?;
    let rules = BTreeMap::from([(libc::SYS_prctl, vec![SeccompRule::new(vec![is_it])?])]);
    let filter = SeccompFilter::new(
        rules,
        SeccompAction::Allow,
        SeccompAction::Errno(libc::EINVAL.cast_unsigned()),
        std::env::consts::ARCH.try_into()?,
    )?;
    seccompiler::apply_filter(&BpfProgram::try_from(filter)?)?;
    let (program, arguments) = options
        .command
        .split_first()
        .context("a program is missing")?;
    let error = std::process::Command::new(program).args(arguments).exec();
    Err(error).with_context(|| format!("cannot start {}", program.display()))
}

/// Refuses to do anything: the filter is Linux's.
///
/// # Errors
/// Always.
#[cfg(not(target_os = "linux"))]
pub(crate) fn run(_: &Options) -> Result<()> {
    anyhow::bail!("only Linux has filters for calls of the system")
}
