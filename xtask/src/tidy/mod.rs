//! `cargo xtask tidy`: the house rules, each a function of its input alone.
//!
//! A rule returns its [`Violation`]s. No rule reads the environment, so the tests beside each rule can
//! check it on a small tree that breaks it.

mod circles;
mod folder_size;
mod heads;
mod imports;
mod lean;
mod leftovers;
mod length;
mod links;
mod manifests;
mod mod_files;
mod paths;
mod tree;
mod unsafe_places;

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use self::tree::Tree;
use crate::binaries::{self, BuildProfile};
use crate::run;
use crate::workspace::Workspace;

/// The options of `tidy`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Check the sources only; do not build the lean server to check its symbols
    #[arg(long)]
    sources: bool,
}

impl Options {
    /// Checks the sources only.
    pub(crate) fn sources() -> Self {
        Self { sources: true }
    }
}

/// One place where a rule is broken.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Violation {
    /// The file, relative to the root.
    path: PathBuf,
    /// The line, counted from one; zero for the file as a whole.
    line: usize,
    /// Description of the problem and its fix.
    message: String,
}

impl Violation {
    fn new(path: impl Into<PathBuf>, line: usize, message: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            line,
            message: message.into(),
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        write!(f, ": {}", self.message)
    }
}

/// Checks every rule and reports all violations.
///
/// # Errors
/// If a rule is broken, or a file cannot be read.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    let tree = Tree::read(&workspace.root)?;
    let mut outcomes = Outcomes::default();
    outcomes.record("every source file says what it is", heads::check(&tree));
    outcomes.record(
        "unsafe code stands only in its few places, each with its proof",
        unsafe_places::check(&tree),
    );
    let private_paths = leftovers::private_paths(&workspace.root);
    outcomes.record(
        "nothing is left over from writing",
        leftovers::check(&tree, &private_paths),
    );
    outcomes.record(
        "links in the documentation lead somewhere",
        links::check(&tree),
    );
    outcomes.record(
        "paths that the documentation names are there",
        paths::check(&tree)?,
    );
    outcomes.record(
        "the modules of a crate do not import each other in a circle",
        circles::check(&tree),
    );
    outcomes.record(
        "a module with files below it is a `mod.rs`",
        mod_files::check(&tree),
    );
    outcomes.record(
        "folders of sources can be seen at a glance",
        folder_size::check(&tree),
    );
    outcomes.record(
        "manifests take lints and versions from the root",
        manifests::check(&tree)?,
    );
    outcomes.record(
        "crates import only what the table allows",
        imports::check(&workspace.root, &workspace.packages),
    );
    for package in lean::PACKAGES
        .iter()
        .filter(|name| workspace.packages.iter().any(|p| p.name == **name))
    {
        let listing = run::output(&mut workspace.cargo(lean::tree_arguments(package)))?;
        outcomes.record(
            &format!("{package} depends on no compiler"),
            lean::check_tree(package, &listing),
        );
    }
    if !options.sources {
        record_binary(
            &mut outcomes,
            workspace,
            &binaries::server(workspace, BuildProfile::Dev)?,
        )?;
    }
    for long in length::find(&tree) {
        println!("note: {long}");
    }
    outcomes.finish()
}

/// Checks that a lean binary, already built, holds no compiler.
///
/// # Errors
/// If it holds one or cannot be read.
pub(crate) fn run_on_binary(workspace: &Workspace, binary: &Path) -> Result<()> {
    let mut outcomes = Outcomes::default();
    record_binary(&mut outcomes, workspace, binary)?;
    outcomes.finish()
}

fn record_binary(outcomes: &mut Outcomes, workspace: &Workspace, binary: &Path) -> Result<()> {
    let bytes =
        std::fs::read(binary).with_context(|| format!("cannot read {}", binary.display()))?;
    let shown = workspace.shown(binary);
    outcomes.record(
        &format!("{} holds no compiler", shown.display()),
        lean::check_symbols(shown, &bytes),
    );
    Ok(())
}

/// Prints the outcome of each rule, and collects the violations to print them at the end.
#[derive(Default)]
struct Outcomes {
    violations: Vec<Violation>,
}

impl Outcomes {
    fn record(&mut self, rule: &str, found: Vec<Violation>) {
        println!(
            "{} {rule}",
            if found.is_empty() { "ok    " } else { "BROKEN" }
        );
        self.violations.extend(found);
    }

    fn finish(mut self) -> Result<()> {
        self.violations.sort();
        for violation in &self.violations {
            eprintln!("{violation}");
        }
        match self.violations.len() {
            0 => Ok(()),
            1 => bail!("one place breaks the house rules"),
            n => bail!("{n} places break the house rules"),
        }
    }
}
