//! `cargo xtask tidy`: the house rules, each a function over what it judges and nothing else.
//!
//! A rule returns its [`Violation`]s. None reads the environment, so that the tests beside each rule
//! can lay out a small tree that breaks it and see it fail.

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

/// What `tidy` should look at.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Judge the sources only: do not build the lean server to look into its symbols
    #[arg(long)]
    sources: bool,
}

impl Options {
    /// Judge the sources only.
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
    /// What is wrong and what to do about it.
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

/// Check every rule and report all that is broken.
///
/// # Errors
/// When a rule is broken, or something that it judges cannot be read.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    let tree = Tree::read(&workspace.root)?;
    let mut judge = Judge::default();
    judge.hear("every source file says what it is", heads::check(&tree));
    judge.hear(
        "unsafe code stands only in its few places, each with its proof",
        unsafe_places::check(&tree),
    );
    let private_paths = leftovers::private_paths(&workspace.root);
    judge.hear(
        "nothing is left over from writing",
        leftovers::check(&tree, &private_paths),
    );
    judge.hear(
        "links in the documentation lead somewhere",
        links::check(&tree),
    );
    judge.hear(
        "paths that the documentation names are there",
        paths::check(&tree)?,
    );
    judge.hear(
        "the modules of a crate do not import each other in a circle",
        circles::check(&tree),
    );
    judge.hear(
        "a module with files below it is a `mod.rs`",
        mod_files::check(&tree),
    );
    judge.hear(
        "folders of sources can be seen at a glance",
        folder_size::check(&tree),
    );
    judge.hear(
        "manifests take lints and versions from the root",
        manifests::check(&tree)?,
    );
    judge.hear(
        "crates import only what the table allows",
        imports::check(&workspace.root, &workspace.packages),
    );
    for package in lean::PACKAGES
        .iter()
        .filter(|name| workspace.packages.iter().any(|p| p.name == **name))
    {
        let listing = run::output(&mut workspace.cargo(lean::tree_arguments(package)))?;
        judge.hear(
            &format!("{package} depends on no compiler"),
            lean::check_tree(package, &listing),
        );
    }
    if !options.sources {
        hear_binary(
            &mut judge,
            workspace,
            &binaries::server(workspace, BuildProfile::Dev)?,
        )?;
    }
    for long in length::find(&tree) {
        println!("note: {long}");
    }
    judge.rule()
}

/// Check a lean binary that has been built already.
///
/// # Errors
/// When it holds a compiler or cannot be read.
pub(crate) fn run_on_binary(workspace: &Workspace, binary: &Path) -> Result<()> {
    let mut judge = Judge::default();
    hear_binary(&mut judge, workspace, binary)?;
    judge.rule()
}

fn hear_binary(judge: &mut Judge, workspace: &Workspace, binary: &Path) -> Result<()> {
    let bytes =
        std::fs::read(binary).with_context(|| format!("cannot read {}", binary.display()))?;
    let shown = workspace.shown(binary);
    judge.hear(
        &format!("{} holds no compiler", shown.display()),
        lean::check_symbols(shown, &bytes),
    );
    Ok(())
}

/// Says of each rule whether it holds, and keeps what breaks it for the end.
#[derive(Default)]
struct Judge {
    violations: Vec<Violation>,
}

impl Judge {
    fn hear(&mut self, rule: &str, found: Vec<Violation>) {
        println!(
            "{} {rule}",
            if found.is_empty() { "ok    " } else { "BROKEN" }
        );
        self.violations.extend(found);
    }

    fn rule(mut self) -> Result<()> {
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
