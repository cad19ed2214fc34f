//! `ferrite-wasmc build`: builds a project's modules and compiles them into the cache.

use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use anyhow::Result;
use ferrite_cache::Profile;
use serde::Serialize;

use crate::commands::compile::{CompileReport, FileCompiler, Options};
use crate::files::cache_folder::CacheFolder;
use crate::language::Language;
use crate::precompile::PreinitOptions;
use crate::project::Project;
use crate::terminal::console::{Console, Exit, Report};
use crate::terminal::progress::Progress;
use crate::watch::Watch;

/// The arguments of `ferrite-wasmc build`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Folder of the project
    #[arg(default_value = ".", value_name = "DIR")]
    folder: PathBuf,

    #[command(flatten)]
    cache: CacheFolder,

    /// Count the depth of nested calls, as functions with the limit max_stack_depth require. Every
    /// call then takes a few more instructions
    #[arg(long)]
    stack_depth: bool,

    #[command(flatten)]
    preinit: PreinitOptions,

    /// Build again after every change of a source, until Ctrl-C
    #[arg(long)]
    watch: bool,
}

/// The result of a build.
#[derive(Serialize)]
struct BuildReport {
    language: Language,
    #[serde(flatten)]
    compiled: CompileReport,
}

/// Builds once, or again and again.
pub(crate) fn run(arguments: Arguments, console: &Console) -> Result<Exit> {
    let Arguments {
        folder,
        cache,
        stack_depth,
        preinit,
        watch,
    } = arguments;
    let mut options = Options {
        files: Vec::new(),
        cache,
        output: None,
        profile: Profile::native().with_stack_depth(stack_depth),
        jobs: std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
        preinit: preinit.choice(),
    };
    if !watch {
        return build(&folder, &mut options, console);
    }
    // Watching starts before the first build, so that no change is missed.
    let mut changes = Watch::new(vec![folder.clone()]);
    loop {
        if let Err(error) = build(&folder, &mut options, console) {
            console.error(&error);
        }
        console.warn(&format!("watching {}; Ctrl-C ends it", folder.display()))?;
        changes.wait();
    }
}

fn build(folder: &Path, options: &mut Options, console: &Console) -> Result<Exit> {
    let project = Project::find(folder)?;
    options.files = project.build(console)?;
    let compiler = FileCompiler::new(options)?;
    let progress = Progress::new(options.files.len(), console.is_json());
    let mut files = Vec::new();
    for file in &options.files {
        files.push(compiler.compile(file, &|note| progress.set_message(&note)));
        progress.step();
    }
    drop(progress);
    let report = BuildReport {
        language: project.language,
        compiled: CompileReport { files },
    };
    if console.is_json() {
        console.print(&report)?;
    } else {
        for file in &report.compiled.files {
            file.print(console)?;
        }
    }
    Ok(report.compiled.exit())
}

impl Report for BuildReport {
    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        self.compiled.text(out)
    }
}
