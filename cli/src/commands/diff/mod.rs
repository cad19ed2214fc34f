//! `ferrite-wasmc diff`: shows what a new release may do that the old one may not.

pub(crate) mod compare;
pub(crate) mod input;
mod reachable_commands;

use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::Result;
use serde::Serialize;

use crate::terminal::console::{Console, Exit, Report};
use compare::{Change, compare};
use input::{DiffInput, InputReport};

/// The arguments of `ferrite-wasmc diff`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The release in use: a bundle, or a module, which counts as one with the default permissions
    old: PathBuf,

    /// The release that shall replace it
    new: PathBuf,
}

/// Compares imports, commands, permissions, limits and isolation; exit code 3 if any allows more.
///
/// Signatures are not checked; `verify` does that.
pub(crate) fn run(arguments: Arguments, console: &Console) -> Result<Exit> {
    let Arguments { old, new } = arguments;
    let (old, new) = (DiffInput::read(&old)?, DiffInput::read(&new)?);
    let changes = compare(&old, &new)?;
    let report = DiffReport {
        wider: changes.iter().any(|change| change.wider),
        old: old.into_report(),
        new: new.into_report(),
        changes,
    };
    console.print(&report)?;
    Ok(if report.wider {
        Exit::Refused
    } else {
        Exit::Done
    })
}

#[derive(Serialize)]
struct DiffReport {
    old: InputReport,
    new: InputReport,
    /// True if the new release may do anything that the old one may not.
    wider: bool,
    changes: Vec<Change>,
}

impl Report for DiffReport {
    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "old     {}", self.old)?;
        writeln!(out, "new     {}", self.new)?;
        for change in &self.changes {
            writeln!(out, "{}", change.line())?;
        }
        if self.wider {
            writeln!(out, "the new release may do more than the old one")
        } else {
            writeln!(
                out,
                "the new release may do nothing that the old one may not"
            )
        }
    }
}
