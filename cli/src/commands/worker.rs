//! `ferrite-wasmc worker`: compiles one module for a server, over pipes.

use std::io;

use anyhow::Result;
use ferrite_compiler::sandbox::{self, SandboxLimits};
use ferrite_compiler::{SourceLimits, worker};

use crate::terminal::console::Exit;

/// The arguments of `ferrite-wasmc worker`: none, because the job holds all options.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {}

/// Reads a job from standard input and answers on standard output.
///
/// Enters the sandbox before it reads the first byte of the job: see [`sandbox::enter`].
pub(crate) fn run(Arguments {}: Arguments) -> Result<Exit> {
    sandbox::enter(SandboxLimits::default())?;
    let (mut input, mut output) = (io::stdin().lock(), io::stdout().lock());
    worker::serve(&mut input, &mut output, &SourceLimits::default())?;
    Ok(Exit::Done)
}
