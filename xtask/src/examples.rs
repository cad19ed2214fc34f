//! `cargo xtask examples`: builds the example functions from source to `target/examples/*.wasm`, and puts those
//! in JavaScript beside them, which `ferrite-wasmc` takes as they are.
//!
//! An example is a folder below `examples/`: a package that builds a `cdylib`, a C file, a WAT file, a
//! package of npm whose functions are in AssemblyScript, a module of Go, a project of Python, or a file in
//! JavaScript.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::run;
use crate::tools::guest_rustc::GUEST_TARGET;
use crate::tools::languages::{self, Compilers, Language};
use crate::workspace::{Package, Workspace};

/// The folder that the examples' sources are in.
const SOURCES: &str = "examples";

/// The options of `examples`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Build only these
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Write the list of what was built to this file, and leave out what does not build
    #[arg(long, value_name = "FILE")]
    list: Option<PathBuf>,
}

/// Prints what the compilers of the examples come from, and what will be left out; gets nothing yet.
///
/// # Errors
/// If the folder of the examples cannot be read.
pub(crate) fn announce(workspace: &Workspace) -> Result<()> {
    let examples = find(workspace)?;
    languages::announce(workspace, &languages_of(&examples));
    Ok(())
}

fn languages_of(examples: &[Example]) -> Vec<Language> {
    let mut languages: Vec<_> = examples.iter().map(Example::language).collect();
    languages.sort_unstable();
    languages.dedup();
    languages
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
    let chosen = examples
        .into_iter()
        .filter(|example| options.names.is_empty() || options.names.contains(&example.name))
        .collect();
    let chosen = Prepared::new(workspace, chosen);
    if let Some(example) = chosen
        .left_out()
        .next()
        .filter(|_| !options.names.is_empty())
    {
        bail!("{} cannot be built without its compiler", example.name);
    }
    let functions = match &options.list {
        Some(file) => {
            let functions = chosen.build_each(workspace);
            let list = serde_json::to_vec(&functions)?;
            std::fs::write(file, list)
                .with_context(|| format!("cannot write {}", file.display()))?;
            functions
        }
        None => chosen.build(workspace)?,
    };
    for function in functions {
        println!("{}", workspace.shown(&function.source).display());
    }
    Ok(())
}

/// A build of all examples in a process of its own, beside the build of the programs.
pub(crate) struct Background {
    child: Child,
    /// Output of the process.
    log: PathBuf,
    /// The list that it writes.
    list: PathBuf,
}

impl Background {
    /// Starts the build.
    ///
    /// # Errors
    /// If the process cannot be started, or nothing below `target/` can be written.
    pub(crate) fn start(workspace: &Workspace) -> Result<Self> {
        let folder = folder(workspace);
        std::fs::create_dir_all(&folder)
            .with_context(|| format!("cannot make {}", folder.display()))?;
        let [log, list] = ["built.log", "built.json"].map(|file| folder.join(file));
        let out = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let mut command = workspace.command(std::env::current_exe()?);
        command.args(["examples", "--list"]).arg(&list);
        let child = command
            .stdin(Stdio::null())
            .stderr(out.try_clone()?)
            .stdout(out)
            .spawn()
            .context("cannot start the build of the examples")?;
        Ok(Self { child, log, list })
    }

    /// Waits for its end, prints what it printed, and returns the functions.
    ///
    /// # Errors
    /// If the build failed as a whole.
    pub(crate) fn finish(mut self) -> Result<Vec<Function>> {
        let status = self.child.wait()?;
        let read = |file: &Path| {
            std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
        };
        print!("{}", read(&self.log)?);
        if !status.success() {
            bail!("the examples were not built: {status}");
        }
        let list = read(&self.list)?;
        Ok(serde_json::from_str(&list)?)
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        // It has ended, or the programs failed to build, and then nobody needs the examples.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Finds or installs what the examples need, a line for each language.
///
/// # Errors
/// If the examples cannot be listed.
pub(crate) fn prepare(workspace: &Workspace) -> Result<Prepared> {
    Ok(Prepared::new(workspace, find(workspace)?))
}

/// Builds every example that this machine has a compiler for; returns the functions, ordered by
/// name.
///
/// # Errors
/// If one does not build.
pub(crate) fn build(workspace: &Workspace) -> Result<Vec<Function>> {
    prepare(workspace)?.build(workspace)
}

/// Builds a project in Python that is no example to `wasm`. Returns false if its compiler cannot be had.
///
/// # Errors
/// If it does not build.
pub(crate) fn build_python(workspace: &Workspace, folder: &Path, wasm: &Path) -> Result<bool> {
    let compilers = Compilers::prepare(workspace, &[Language::Python], &[]);
    let Some(python) = &compilers.componentize else {
        return Ok(false);
    };
    let mut builder = python.ferrite_build(workspace);
    run::run(builder.arg(".").arg(wasm).current_dir(folder))?;
    Ok(true)
}

/// Builds a module of Go that is no example to `wasm`. Returns false if its compiler cannot be had.
///
/// # Errors
/// If it does not build.
pub(crate) fn build_go_module(workspace: &Workspace, folder: &Path, wasm: &Path) -> Result<bool> {
    let compilers = Compilers::prepare(workspace, &[Language::Go], &[]);
    if compilers.go.is_none() {
        return Ok(false);
    }
    build_go(workspace, &compilers, folder, wasm)?;
    Ok(true)
}

/// Examples, and the compilers that were found for them.
pub(crate) struct Prepared {
    examples: Vec<Example>,
    compilers: Compilers,
}

impl Prepared {
    fn new(workspace: &Workspace, examples: Vec<Example>) -> Self {
        let languages = languages_of(&examples);
        let packages: Vec<_> = examples.iter().filter_map(Example::npm_package).collect();
        let compilers = Compilers::prepare(workspace, &languages, &packages);
        Self {
            examples,
            compilers,
        }
    }

    fn left_out(&self) -> impl Iterator<Item = &Example> {
        self.examples
            .iter()
            .filter(|example| !self.compilers.have(example.language()))
    }

    /// Builds the examples that have a compiler; prints a line for one that does not build.
    fn build_each(&self, workspace: &Workspace) -> Vec<Function> {
        let mut functions = Vec::new();
        for example in &self.examples {
            if !self.compilers.have(example.language()) {
                continue;
            }
            match example.build(workspace, &self.compilers) {
                Ok(function) => functions.push(function),
                Err(error) => println!("left out: {} does not build: {error:#}", example.name),
            }
        }
        functions
    }

    /// Builds the examples that have a compiler.
    ///
    /// # Errors
    /// If one does not build.
    pub(crate) fn build(&self, workspace: &Workspace) -> Result<Vec<Function>> {
        self.examples
            .iter()
            .filter(|example| self.compilers.have(example.language()))
            .map(|example| example.build(workspace, &self.compilers))
            .collect()
    }
}

/// A built example.
#[derive(Serialize, Deserialize)]
pub(crate) struct Function {
    pub(crate) name: String,
    /// The file that `ferrite-wasmc` compiles: a module, or a program in JavaScript.
    pub(crate) source: PathBuf,
    /// The file of its permissions, if it needs more than reading.
    pub(crate) permissions: Option<PathBuf>,
}

impl Function {
    /// Returns true if it asks for directories or the network, which a server has to be told to offer.
    pub(crate) fn needs_operator(&self) -> bool {
        let permissions = self.permissions.as_ref();
        let text = permissions.and_then(|file| std::fs::read_to_string(file).ok());
        text.is_some_and(|text| {
            ["allow_filesystem", "allow_network"]
                .iter()
                .any(|field| text.contains(field))
        })
    }
}

/// A function to build.
struct Example {
    /// Its name, and that of the built file without the extension.
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
    /// The folder of a project in Python.
    Python(PathBuf),
    /// One file, for the engine that the compiler has in it.
    JavaScript(PathBuf),
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
        } else if folder.join("pyproject.toml").is_file() {
            Some(Source::Python(folder.clone()))
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
                Some("js") => Source::JavaScript(file.clone()),
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
    const fn language(&self) -> Language {
        match &self.source {
            Source::Rust { .. } => Language::Rust,
            Source::C(_) => Language::C,
            Source::Wat(_) => Language::Wat,
            Source::AssemblyScript(_) => Language::AssemblyScript,
            Source::Go(_) => Language::Go,
            Source::Python(_) => Language::Python,
            Source::JavaScript(_) => Language::JavaScript,
        }
    }

    fn npm_package(&self) -> Option<PathBuf> {
        match &self.source {
            Source::AssemblyScript(folder) => Some(folder.clone()),
            _ => None,
        }
    }

    fn build(&self, workspace: &Workspace, compilers: &Compilers) -> Result<Function> {
        let folder = folder(workspace);
        std::fs::create_dir_all(&folder)
            .with_context(|| format!("cannot make {}", folder.display()))?;
        let wasm = folder.join(&self.name).with_extension("wasm");
        let mut built = wasm.clone();
        match &self.source {
            Source::Rust { package } => self.build_rust(workspace, compilers, package, &wasm)?,
            Source::C(source) => build_c(workspace, compilers, source, &wasm)?,
            Source::AssemblyScript(folder) => build_assemblyscript(workspace, folder, &wasm)?,
            Source::Go(folder) => build_go(workspace, compilers, folder, &wasm)?,
            Source::Python(folder) => {
                let python = compilers.componentize.as_ref();
                let python = python.context("no componentize-py")?;
                let mut builder = python.ferrite_build(workspace);
                run::run(builder.arg(".").arg(&wasm).current_dir(folder))?;
            }
            Source::JavaScript(program) => {
                built.set_extension("js");
                std::fs::copy(program, &built)
                    .with_context(|| format!("cannot copy {}", program.display()))?;
            }
            Source::Wat(source) => {
                let bytes = wat::parse_file(source)?;
                std::fs::write(&wasm, bytes)
                    .with_context(|| format!("cannot write {}", wasm.display()))?;
            }
        }
        let permissions = Some(self.folder.join("permissions.json")).filter(|file| file.is_file());
        Ok(Function {
            name: self.name.clone(),
            source: built,
            permissions,
        })
    }

    /// Builds a package by its own invocation, so that it gets no features of other packages.
    fn build_rust(
        &self,
        workspace: &Workspace,
        compilers: &Compilers,
        package: &str,
        wasm: &Path,
    ) -> Result<()> {
        let rustc = compilers.rustc.as_ref().context("no compiler for Rust")?;
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
        run::run(cargo.env("RUSTC", rustc))?;
        let built = target
            .join(GUEST_TARGET)
            .join("guest")
            .join(&self.name)
            .with_extension("wasm");
        std::fs::copy(&built, wasm).with_context(|| format!("cannot copy {}", built.display()))?;
        Ok(())
    }
}

/// Builds with the flags from the header of the C SDK. Zig keeps no names of functions without debug
/// information, which `ferrite-wasmc build` asks for and takes out again.
fn build_c(workspace: &Workspace, compilers: &Compilers, source: &Path, wasm: &Path) -> Result<()> {
    let mut zig = compilers.zig.as_ref().context("no compiler for C")?.zig();
    zig.env("ZIG_GLOBAL_CACHE_DIR", workspace.target.join("zig"));
    zig.args(["cc", "--target=wasm32-wasi", "-mexec-model=reactor", "-Os"]);
    zig.args(["-Wl,-z,stack-size=65536", "-Wl,--strip-debug", "-o"]);
    run::run(zig.arg(wasm).arg(source))
}

/// Builds with the compiler and the SDK that the package's lock file names.
fn build_assemblyscript(workspace: &Workspace, folder: &Path, wasm: &Path) -> Result<()> {
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
fn build_go(
    workspace: &Workspace,
    compilers: &Compilers,
    folder: &Path,
    wasm: &Path,
) -> Result<()> {
    let go = compilers.go.as_ref().context("no compiler for Go")?;
    let mut go = go.go(workspace);
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
