//! Builds functions in C into one module, with zig or clang.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::{debug_sections, folder_name, module_path, process, toolchain};

/// Compiler flags that the SDK's header requires. Function names are kept, so that a trap can say
/// where it happened.
const FLAGS: &[&str] = &[
    "--target=wasm32-wasi",
    "-mexec-model=reactor",
    "-std=c11",
    "-Os",
    "-Wall",
    "-Wl,-z,stack-size=65536",
];

/// Further flags for zig. It keeps the names of functions only beside its debug information.
const ZIG_FLAGS: &[&str] = &["-g1"];

/// Further flags for clang. The stack goes below the data, so that it overwrites nothing when it
/// overflows, where zig puts it too.
const CLANG_FLAGS: &[&str] = &["-Wl,--stack-first", "-Wl,--strip-debug"];

/// Folders that are searched for headers, as far as they exist.
const HEADERS: &[&str] = &["ferrite-sdk", "include", "src", "."];

/// Returns the C files of a project: those in `src` if it exists, else those in the folder itself.
pub(super) fn sources(folder: &Path) -> Result<Vec<PathBuf>> {
    let source = Path::new("src");
    let below = if folder.join(source).is_dir() {
        source
    } else {
        Path::new("")
    };
    let listed = folder.join(below);
    let mut files = Vec::new();
    let entries = listed
        .read_dir()
        .with_context(|| format!("cannot list {}", listed.display()))?;
    for entry in entries {
        let name = entry
            .with_context(|| format!("cannot list {}", listed.display()))?
            .file_name();
        if Path::new(&name).extension().is_some_and(|it| it == "c") {
            files.push(below.join(name));
        }
    }
    files.sort();
    Ok(files)
}

/// Compiles and links all sources. The module is named after the folder.
pub(super) fn build(folder: &Path) -> Result<Vec<PathBuf>> {
    let compiler = toolchain::c()?;
    let wasm = module_path(folder, &folder_name(folder)?)?;
    let is_zig = compiler.version.starts_with("zig ");
    let mut compiler = compiler.command();
    compiler.args(FLAGS);
    compiler.args(if is_zig { ZIG_FLAGS } else { CLANG_FLAGS });
    for headers in HEADERS.iter().filter(|name| folder.join(name).is_dir()) {
        compiler.arg(format!("-I{headers}"));
    }
    compiler
        .arg("-o")
        .arg(std::path::absolute(&wasm)?)
        .args(sources(folder)?)
        .current_dir(folder);
    process::run(&mut compiler)?;
    let shown = wasm.display();
    let linked = std::fs::read(&wasm).with_context(|| format!("cannot read {shown}"))?;
    if let Some(smaller) = debug_sections::removed(&linked) {
        std::fs::write(&wasm, smaller).with_context(|| format!("cannot write {shown}"))?;
    }
    Ok(vec![wasm])
}
