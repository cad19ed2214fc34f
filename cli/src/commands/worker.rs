//! `ferrite-wasmc worker`: compiles one module that comes through a pipe.

use std::io;

use anyhow::Result;
use ferrite_compiler::sandbox::{self, SandboxLimits};
use ferrite_compiler::{SourceLimits, worker};

use crate::terminal::console::Exit;

/// What was typed after `worker`: nothing, as the job says it all.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {}

/// Reads a job from standard input and answers on standard output.
///
/// The sandbox stands before the first byte of the job is read: see [`sandbox::enter`].
pub(crate) fn run(Arguments {}: Arguments) -> Result<Exit> {
    sandbox::enter(SandboxLimits::default())?;
    let (mut input, mut output) = (io::stdin().lock(), io::stdout().lock());
    worker::serve(&mut input, &mut output, &SourceLimits::default())?;
    Ok(Exit::Done)
}
