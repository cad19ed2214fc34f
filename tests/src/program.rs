//! Finds the programs under test.

use std::env;
use std::path::PathBuf;
use std::process::Command;

/// The folder that cargo builds this profile's programs into.
///
/// # Panics
///
/// If the running test is not where cargo puts tests.
#[must_use]
pub fn target_dir() -> PathBuf {
    let test = env::current_exe().expect("the running test has a path");
    let mut dir = test.parent().expect("a file is in a folder");
    if dir.ends_with("deps") {
        dir = dir.parent().expect("deps is in the profile's folder");
    }
    dir.to_owned()
}

/// The program `name`: the one that `variable` names, else the one that cargo built.
///
/// # Panics
///
/// If there is none.
#[must_use]
pub fn program(name: &str, variable: &str) -> PathBuf {
    let path = env::var_os(variable).map_or_else(|| target_dir().join(name), PathBuf::from);
    assert!(
        path.is_file(),
        "{} is missing; build it with `cargo build -p {name}`, or let {variable} name it",
        path.display()
    );
    path
}

/// Runs [`program`], with none of our own variables in its environment.
#[must_use]
pub fn command(name: &str, variable: &str) -> Command {
    let mut command = Command::new(program(name, variable));
    for (variable, _) in env::vars_os() {
        if variable.as_encoded_bytes().starts_with(b"FERRITE_") {
            command.env_remove(variable);
        }
    }
    command
}

/// A program that a package of Debian carries.
#[derive(Debug)]
pub struct DebianProgram {
    /// Where it is.
    pub path: PathBuf,
    /// Where its libraries are, if the system has them not.
    pub libraries: Option<PathBuf>,
}

/// The program that `variable` names, else the one on the PATH, else the one that `cargo xtask
/// test` has unpacked below `target/debian`; none where there is none of them.
#[must_use]
pub fn debian_program(name: &str, variable: &str) -> Option<DebianProgram> {
    let named = env::var_os(variable).map(PathBuf::from);
    let on_path = || {
        env::split_paths(&env::var_os("PATH")?)
            .map(|folder| folder.join(name))
            .find(|path| path.is_file())
    };
    if let Some(path) = named.or_else(on_path) {
        return Some(DebianProgram {
            path,
            libraries: None,
        });
    }
    let root = target_dir().parent()?.join("debian/root");
    let path = root.join("usr/bin").join(name);
    path.is_file().then(|| DebianProgram {
        path,
        libraries: Some(root.join(format!("usr/lib/{}-linux-gnu", env::consts::ARCH))),
    })
}
