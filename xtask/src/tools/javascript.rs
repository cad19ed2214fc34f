//! `cargo xtask engine`: builds the JavaScript engine in `compiler/javascript` from source.
//!
//! The sources of QuickJS-ng come with the crate `rquickjs-sys`, which cargo fetches and checks; the
//! compiler is zig from PyPI. Versions are exact, so that the result is the same everywhere.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use miniz_oxide::deflate::compress_to_vec_zlib;
use miniz_oxide::inflate::decompress_to_vec_zlib;
use serde::Deserialize;

use super::Python;
use crate::run;
use crate::workspace::Workspace;

/// The crate that carries the sources, at the version that `engine.c` was written for.
const SOURCES: &str = "rquickjs-sys";
const SOURCES_VERSION: &str = "0.14.0";

/// The folder of the engine, and its compressed module there.
const FOLDER: &str = "compiler/javascript";
const MODULE: &str = "engine.wasm.zz";

/// The folder below `target/` that it is built in.
const BUILT: &str = "javascript";

/// Files of QuickJS-ng that `engine.c` does not include itself.
const FILES: &[&str] = &["dtoa.c", "libregexp.c", "libunicode.c"];

/// Stack in the linear memory, in bytes. The engine ends recursion earlier.
const STACK_BYTES: u32 = 384 << 10;

const FLAGS: &[&str] = &[
    "--target=wasm32-wasi",
    "-std=gnu23",
    "-O2",
    "-g0",
    "-DNDEBUG",
    "-D_GNU_SOURCE",
    "-D_WASI_EMULATED_SIGNAL",
    // QuickJS-ng's own build has these.
    "-funsigned-char",
    "-fno-strict-aliasing",
    "-fwrapv",
];

/// Warnings for our own file. Those for the sources of others are not shown.
const WARNINGS: &[&str] = &["-Wall", "-Wextra", "-Werror", "-Wno-unused-parameter"];

/// The options of `engine`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Compare the result with the committed file instead of writing it
    #[arg(long)]
    check: bool,
}

/// Builds the engine, and writes or compares it.
///
/// # Errors
/// If it cannot be built, or differs from the committed one.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    let python = Python::ensure(workspace)?;
    let committed = workspace.root.join(FOLDER).join(MODULE);
    let wasm = build(workspace, &python)?;
    let shown = workspace.shown(&committed).display();
    if options.check {
        let compressed =
            std::fs::read(&committed).with_context(|| format!("cannot read {shown}"))?;
        let same = decompress_to_vec_zlib(&compressed).is_ok_and(|bytes| bytes == wasm);
        if !same {
            bail!("{shown} is not what its sources build; run `cargo xtask engine`");
        }
        println!("{shown} is what its sources build");
        return Ok(());
    }
    let compressed = compress_to_vec_zlib(&wasm, 10);
    std::fs::write(&committed, &compressed).with_context(|| format!("cannot write {shown}"))?;
    println!(
        "{shown}: {} bytes of WebAssembly in {} bytes",
        wasm.len(),
        compressed.len()
    );
    Ok(())
}

/// Compares the committed engine with what its sources build, if there is the compiler for it.
///
/// # Errors
/// If it differs.
pub(crate) fn check(workspace: &Workspace) -> Result<()> {
    if let Err(error) = Python::ensure(workspace) {
        println!("note: the JavaScript engine is not built: {error:#}");
        return Ok(());
    }
    run(workspace, &Options { check: true })
}

/// Compiles and links the engine; returns the module.
fn build(workspace: &Workspace, python: &Python) -> Result<Vec<u8>> {
    let sources = sources(workspace)?;
    let folder = workspace.target.join(BUILT);
    let (object, wasm) = (folder.join("engine.o"), folder.join("engine.wasm"));
    let mut compile = python.zig();
    compile.arg("cc").args(FLAGS).args(WARNINGS);
    compile.arg("-isystem").arg(&sources);
    compile.args(["-c", "engine.c", "-o"]).arg(&object);
    run::run(compile.current_dir(workspace.root.join(FOLDER)))?;
    let mut link = python.zig();
    link.arg("cc").args(FLAGS);
    link.args(["-w", "-s", "-mexec-model=reactor"]);
    link.arg(format!("-Wl,-z,stack-size={STACK_BYTES}"));
    link.args(FILES.iter().map(|file| sources.join(file)));
    link.arg(&object).arg("-o").arg(&wasm);
    run::run(&mut link)?;
    std::fs::read(&wasm).with_context(|| format!("cannot read {}", wasm.display()))
}

/// The parts of cargo's metadata that are used.
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    manifest_path: PathBuf,
}

/// Fetches the sources with cargo; returns their folder.
fn sources(workspace: &Workspace) -> Result<PathBuf> {
    let folder = workspace.target.join(BUILT);
    let library = folder.join("src/lib.rs");
    let write = |path: &Path, text: &str| {
        std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
    };
    std::fs::create_dir_all(folder.join("src"))
        .with_context(|| format!("cannot make {}", folder.display()))?;
    let manifest = folder.join("Cargo.toml");
    write(
        &manifest,
        &format!(
            "[workspace]\n[package]\nname = \"javascript-engine-sources\"\nversion = \"0.0.0\"\n\
             [dependencies]\n{SOURCES} = \"={SOURCES_VERSION}\"\n"
        ),
    )?;
    write(&library, "")?;
    let mut cargo = workspace.cargo(["metadata", "--format-version", "1", "--manifest-path"]);
    let text = run::output(cargo.arg(&manifest))?;
    let metadata: Metadata = serde_json::from_str(&text).context("what cargo says of packages")?;
    let package = metadata
        .packages
        .into_iter()
        .find(|package| package.name == SOURCES)
        .with_context(|| format!("cargo does not say where {SOURCES} is"))?;
    Ok(package.manifest_path.with_file_name("quickjs"))
}
