//! Finds the programs under test.

use std::env;
use std::path::PathBuf;
use std::process::Command;

/// The folder into which cargo builds this profile's programs.
///
/// # Panics
///
/// If the running test is not in cargo's usual place.
#[must_use]
pub fn target_dir() -> PathBuf {
    let test = env::current_exe().expect("the running test has a path");
    let mut dir = test.parent().expect("a file is in a folder");
    if dir.ends_with("deps") {
        dir = dir.parent().expect("deps is in the profile's folder");
    }
    dir.to_owned()
}

/// The program `name`: the path in `variable`, otherwise the one that cargo built.
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

/// Returns a command for [`program`], without the project's own variables in its environment.
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

/// A program from a Debian package.
#[derive(Debug)]
pub struct DebianProgram {
    /// Its path.
    pub path: PathBuf,
    /// The folder of its libraries, if the system lacks them.
    pub libraries: Option<PathBuf>,
}

/// The program in `variable`, otherwise the one on the PATH, otherwise the one that `cargo xtask
/// test` has unpacked below `target/debian`; `None` if there is none.
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
