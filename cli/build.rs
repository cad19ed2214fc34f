//! Embeds the project templates and the sources of the SDKs in the program, and tells the compiler the commit.
//!
//! `ferrite-wasmc new` writes both, because the SDKs are in no package registry. `ferrite-wasmc --version` prints the
//! commit.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

#[path = "../packaging/commit.rs"]
mod commit;

/// The folders and files to embed, and their names in the program.
const PARTS: &[(&str, &str)] = &[
    ("templates", "templates"),
    ("../sdk/abi", "sdk/abi"),
    ("../sdk/rust", "sdk/rust"),
    ("../sdk/js", "sdk/js"),
    ("../sdk/assemblyscript", "sdk/assemblyscript"),
    ("../sdk/go", "sdk/go"),
    ("../sdk/c", "sdk/c"),
    ("../sdk/python", "sdk/python"),
    ("../sdk/wit", "sdk/wit"),
    ("../LICENSE-APACHE", "LICENSE-APACHE"),
    ("../LICENSE-MIT", "LICENSE-MIT"),
];

/// Names that are left out everywhere in the SDKs: output of tools, and the SDKs' own tests.
const LEFT_OUT: &[&str] = &[
    "tests",
    "build",
    "node_modules",
    "target",
    "package-lock.json",
    "__pycache__",
    ".pytest_cache",
    ".gitignore",
    ".npmrc",
];

fn main() -> io::Result<()> {
    let home = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let mut files = Vec::new();
    for (part, name) in PARTS {
        let path = home.join(part);
        println!("cargo::rerun-if-changed={}", path.display());
        // The tests of templates belong to the projects.
        let left_out = if *part == "templates" { &[] } else { LEFT_OUT };
        collect(&path, name, left_out, &mut files)?;
    }
    files.sort();
    let mut table = String::from("&[\n");
    for (name, path) in &files {
        let path = path.canonicalize()?;
        let _ = writeln!(table, "    ({name:?}, include_bytes!({path:?})),");
    }
    table.push_str("]\n");
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    fs::write(out.join("files.rs"), table)?;
    let variable = |name: &str| env::var(name).unwrap_or_default();
    commit::tell(
        &mut io::stdout(),
        &home.join(".."),
        &variable("PROFILE"),
        &variable(commit::VARIABLE),
    )
}

/// Adds the files below a path to `files`, with their names in the program.
fn collect(
    path: &Path,
    name: &str,
    left_out: &[&str],
    files: &mut Vec<(String, PathBuf)>,
) -> io::Result<()> {
    if !path.is_dir() {
        files.push((name.to_owned(), path.to_owned()));
        return Ok(());
    }
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let file_name = entry.file_name();
        let Some(part) = file_name.to_str().filter(|part| !left_out.contains(part)) else {
            continue;
        };
        // The Go SDK keeps its tests beside the code.
        if !left_out.is_empty() && part.ends_with("_test.go") {
            continue;
        }
        collect(&entry.path(), &format!("{name}/{part}"), left_out, files)?;
    }
    Ok(())
}
