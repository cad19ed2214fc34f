//! Runs the tools of a toolchain.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// Runs a tool and waits for it. Its output goes to standard error, because standard output is for
/// the report.
pub(super) fn run(command: &mut Command) -> Result<()> {
    let shown = shown(command);
    let out = std::os::fd::AsFd::as_fd(&std::io::stderr()).try_clone_to_owned()?;
    let status = command
        .stdin(Stdio::null())
        .stdout(Stdio::from(out))
        .status()
        .with_context(|| format!("cannot start `{shown}`"))?;
    if !status.success() {
        bail!("`{shown}` failed ({status}); what it printed above says why");
    }
    Ok(())
}

/// Runs a tool and returns its standard output; fails with its standard error.
pub(super) fn output(command: &mut Command) -> Result<String> {
    let shown = shown(command);
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start `{shown}`"))?;
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        bail!("`{shown}` failed: {}", errors.trim());
    }
    String::from_utf8(output.stdout).with_context(|| format!("`{shown}` prints no text"))
}

/// The command line, for messages.
fn shown(command: &Command) -> String {
    let mut text = command.get_program().to_string_lossy().into_owned();
    for argument in command.get_args() {
        text.push(' ');
        text.push_str(&argument.to_string_lossy());
    }
    text
}
