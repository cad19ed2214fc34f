//! `cargo xtask examples`: builds the example functions from source to `target/examples/*.wasm`.
//!
//! An example is a folder below `examples/`: a package that builds a `cdylib`, a C file, a WAT file, a
//! package of npm whose functions are in AssemblyScript, or a module of Go.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::run;
use crate::tools::{self, GUEST_TARGET, Python};
use crate::workspace::{Package, Workspace};

/// The folder that the examples' sources are in.
const SOURCES: &str = "examples";

/// The options of `examples`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Build only these
    #[arg(value_name = "NAME")]
    names: Vec<String>,
}

/// The folder of the built functions.
pub(crate) fn folder(workspace: &Workspace) -> PathBuf {
    workspace.target.join("examples")
}

/// Builds the chosen examples and prints their paths.
///
/// # Errors
/// If one does not build, a compiler for it is missing, or a name is unknown.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    let examples = find(workspace)?;
    if let Some(unknown) = options
        .names
        .iter()
        .find(|name| !examples.iter().any(|example| example.name == **name))
    {
        let names: Vec<_> = examples
            .iter()
            .map(|example| example.name.as_str())
            .collect();
        bail!(
            "there is no example `{unknown}`; there are {}",
            names.join(", ")
        );
    }
    for example in examples
        .iter()
        .filter(|e| options.names.is_empty() || options.names.contains(&e.name))
    {
        let function = example.build(workspace)?;
        println!("{}", workspace.shown(&function.wasm).display());
    }
    Ok(())
}

/// Builds every example; returns the functions, ordered by name.
///
/// # Errors
/// If one does not build, or a compiler for it is missing.
pub(crate) fn build(workspace: &Workspace) -> Result<Vec<Function>> {
    let mut functions = Vec::new();
    for example in find(workspace)? {
        if matches!(example.source, Source::AssemblyScript(_)) && tools::on_path("npm").is_none() {
            println!(
                "note: {} is left out: no npm on the PATH (on Debian: apt-get install npm)",
                example.name
            );
            continue;
        }
        functions.push(example.build(workspace)?);
    }
    Ok(functions)
}

/// A built example.
pub(crate) struct Function {
    pub(crate) name: String,
    pub(crate) wasm: PathBuf,
    /// The file of its permissions, if it needs more than reading.
    pub(crate) permissions: Option<PathBuf>,
}

/// A function to build.
struct Example {
    /// Its name, and that of the `.wasm` file without the extension.
    name: String,
    folder: PathBuf,
    source: Source,
}

enum Source {
    /// A package of the workspace.
    Rust { package: String },
    /// One file, for a C compiler.
    C(PathBuf),
    /// One file, in WebAssembly's text format.
    Wat(PathBuf),
    /// The folder of an npm package, for the compiler that its lock file names.
    AssemblyScript(PathBuf),
    /// The folder of a Go module.
    Go(PathBuf),
}

fn find(workspace: &Workspace) -> Result<Vec<Example>> {
    let sources = workspace.root.join(SOURCES);
    let mut examples: Vec<_> = workspace
        .packages
        .iter()
        .filter_map(|package| in_rust(&sources, package))
        .collect();
    for folder in entries(&sources)?.into_iter().filter(|path| path.is_dir()) {
        let whole_folder = if folder.join("asconfig.json").is_file() {
            Some(Source::AssemblyScript(folder.clone()))
        } else {
            folder
                .join("go.mod")
                .is_file()
                .then(|| Source::Go(folder.clone()))
        };
        if let Some(source) = whole_folder {
            let name = folder
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            examples.push(Example {
                name,
                folder: folder.clone(),
                source,
            });
        }
        for file in entries(&folder)? {
            let source = match file.extension().and_then(|extension| extension.to_str()) {
                Some("c") => Source::C(file.clone()),
                Some("wat") => Source::Wat(file.clone()),
                _ => continue,
            };
            let name = file
                .file_stem()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            examples.push(Example {
                name,
                folder: folder.clone(),
                source,
            });
        }
    }
    examples.sort_by(|a, b| a.name.cmp(&b.name));
    if let Some([a, _]) = examples.array_windows().find(|[a, b]| a.name == b.name) {
        bail!("two examples are called {}", a.name);
    }
    Ok(examples)
}

fn in_rust(sources: &Path, package: &Package) -> Option<Example> {
    let target = package
        .targets
        .iter()
        .find(|target| target.crate_types.iter().any(|kind| kind == "cdylib"))?;
    package.manifest_path.starts_with(sources).then(|| Example {
        name: target.name.clone(),
        folder: package.manifest_path.parent().unwrap_or(sources).to_owned(),
        source: Source::Rust {
            package: package.name.clone(),
        },
    })
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let list = || -> std::io::Result<Vec<_>> {
        std::fs::read_dir(folder)?
            .map(|entry| Ok(entry?.path()))
            .collect()
    };
    list().with_context(|| format!("cannot list {}", folder.display()))
}

impl Example {
    fn build(&self, workspace: &Workspace) -> Result<Function> {
        let folder = folder(workspace);
        std::fs::create_dir_all(&folder)
            .with_context(|| format!("cannot make {}", folder.display()))?;
        let wasm = folder.join(&self.name).with_extension("wasm");
        match &self.source {
            Source::Rust { package } => self.build_rust(workspace, package, &wasm)?,
            Source::C(source) => build_c(workspace, source, &wasm)?,
            Source::AssemblyScript(folder) => build_assemblyscript(workspace, folder, &wasm)?,
            Source::Go(folder) => build_go(workspace, folder, &wasm)?,
            Source::Wat(source) => {
                let bytes = wat::parse_file(source)?;
                std::fs::write(&wasm, bytes)
                    .with_context(|| format!("cannot write {}", wasm.display()))?;
            }
        }
        let permissions = Some(self.folder.join("permissions.json")).filter(|file| file.is_file());
        Ok(Function {
            name: self.name.clone(),
            wasm,
            permissions,
        })
    }

    /// Builds a package by its own invocation, so that it gets no features of other packages.
    fn build_rust(&self, workspace: &Workspace, package: &str, wasm: &Path) -> Result<()> {
        // A separate folder: cargo rebuilds everything in a folder that two compilers share.
        let target = workspace.target.join("guests");
        let mut cargo = workspace.cargo([
            "build",
            "--quiet",
            "--profile",
            "guest",
            "--target",
            GUEST_TARGET,
        ]);
        cargo
            .arg("--target-dir")
            .arg(&target)
            .args(["--package", package]);
        run::run(cargo.env("RUSTC", tools::guest_rustc(workspace)?))?;
        let built = target
            .join(GUEST_TARGET)
            .join("guest")
            .join(&self.name)
            .with_extension("wasm");
        std::fs::copy(&built, wasm).with_context(|| format!("cannot copy {}", built.display()))?;
        Ok(())
    }
}

/// Builds with the flags from the header of the C SDK. The name section stays, for traps.
fn build_c(workspace: &Workspace, source: &Path, wasm: &Path) -> Result<()> {
    let mut zig = Python::ensure(workspace)?.zig();
    zig.env("ZIG_GLOBAL_CACHE_DIR", workspace.target.join("zig"));
    zig.args(["cc", "--target=wasm32-wasi", "-mexec-model=reactor", "-Os"]);
    zig.args(["-Wl,-z,stack-size=65536", "-Wl,--strip-debug", "-o"]);
    run::run(zig.arg(wasm).arg(source))
}

/// Builds with the compiler and the SDK that the package's lock file names.
fn build_assemblyscript(workspace: &Workspace, folder: &Path, wasm: &Path) -> Result<()> {
    tools::npm_install(workspace, folder)?;
    let mut compiler = workspace.command("npx");
    compiler
        .args([
            "asc",
            "assembly/index.ts",
            "--config",
            "asconfig.json",
            "--outFile",
        ])
        .arg(wasm);
    run::run(compiler.current_dir(folder))
}

/// Builds a reactor: its functions are called one by one, after `_initialize`.
fn build_go(workspace: &Workspace, folder: &Path, wasm: &Path) -> Result<()> {
    let mut go = Python::ensure(workspace)?.go(workspace);
    go.env("GOOS", "wasip1").env("GOARCH", "wasm");
    go.args([
        "build",
        "-buildmode=c-shared",
        "-trimpath",
        "-ldflags=-w",
        "-o",
    ])
    .arg(wasm)
    .arg(".");
    run::run(go.current_dir(folder))
}
