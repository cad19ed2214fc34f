//! Compilers that functions are written for: found, or how to get them.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{Check, Finding};

/// The target of functions in Rust.
const RUST_TARGET: &str = "wasm32-unknown-unknown";

/// Names a Rust compiler other than the one on `PATH`.
const RUSTC_VARIABLE: &str = "FERRITE_WASM_RUSTC";

/// Looks for a compiler for each language.
pub(super) fn all() -> Vec<Check> {
    let check = |name, found: Option<String>, remedy: &str| Check {
        name,
        finding: match found {
            Some(detail) => Finding::Ok { detail },
            None => Finding::Missing {
                remedy: remedy.to_owned(),
            },
        },
    };
    vec![
        check(
            "rust",
            rust(),
            "`rustup target add wasm32-unknown-unknown`, or name a compiler that has the target \
             in FERRITE_WASM_RUSTC",
        ),
        check(
            "c",
            clang().or_else(zig),
            "clang with wasm-ld (on Debian: `apt-get install clang lld`), or zig (`pip install \
             ziglang`)",
        ),
        check("go", tinygo(), "TinyGo, from https://tinygo.org"),
        check(
            "assemblyscript",
            version("asc", &["--version"]),
            "`npm install -g assemblyscript`",
        ),
    ]
}

/// The Rust compiler with a standard library for WebAssembly.
fn rust() -> Option<String> {
    let named = std::env::var_os(RUSTC_VARIABLE).filter(|value| !value.is_empty());
    let rustc = named.unwrap_or_else(|| OsString::from("rustc"));
    let libraries = output(
        &rustc,
        &["--print", "target-libdir", "--target", RUST_TARGET],
    )?;
    let has_std = std::fs::read_dir(libraries.trim())
        .ok()?
        .flatten()
        .any(|entry| entry.file_name().to_string_lossy().starts_with("libstd-"));
    if has_std {
        version(&rustc, &["--version"])
    } else {
        None
    }
}

/// Clang that has the target, with the linker that it needs.
fn clang() -> Option<String> {
    let targets = output("clang", &["--print-targets"])?;
    let linker = on_path("wasm-ld")?;
    targets.contains("wasm32").then_some(())?;
    let clang = version("clang", &["--version"])?;
    Some(format!("{clang}, {}", linker.display()))
}

/// Zig on the path, or the one that a Python package carries.
fn zig() -> Option<String> {
    let zig = version("zig", &["version"])
        .or_else(|| version("python3", &["-m", "ziglang", "version"]))?;
    Some(format!("zig {zig}"))
}

fn tinygo() -> Option<String> {
    version("tinygo", &["version"])
}

/// The first line that a program prints with these arguments.
fn version(program: impl AsRef<std::ffi::OsStr>, arguments: &[&str]) -> Option<String> {
    let text = output(program, arguments)?;
    let line = text.lines().next()?.trim();
    (!line.is_empty()).then(|| line.to_owned())
}

/// What a program prints, if it is there and succeeds.
fn output(program: impl AsRef<std::ffi::OsStr>, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program.as_ref())
        .args(arguments)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    if output.status.success() {
        String::from_utf8(output.stdout).ok()
    } else {
        None
    }
}

fn on_path(program: impl AsRef<Path>) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?)
        .map(|folder| folder.join(&program))
        .find(|path| path.is_file())
}
