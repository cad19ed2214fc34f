//! `ferrite-wasmc compile`: compiles modules into the cache.

mod file_compiler;
mod options;
mod report;

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use anyhow::Result;
use ferrite_cache::{Baseline, Target};

use crate::files::cache_folder::CacheFolder;
use crate::precompile::PreinitOptions;
use crate::terminal::console::{Console, Exit};
use crate::terminal::progress::Progress;
use report::FileReport;

pub(crate) use file_compiler::FileCompiler;
pub(crate) use options::{Options, native_profile};
pub(crate) use report::CompileReport;

/// The arguments of `ferrite-wasmc compile`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Modules to compile, as `.wasm` or in the text format
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,

    #[command(flatten)]
    cache: CacheFolder,

    /// Also write the artifact to this file; only with a single module
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Platform to compile for. Default: this machine
    #[arg(long, value_name = "TRIPLE")]
    target: Option<Target>,

    /// CPU baseline to compile for: x86-64-v2, x86-64-v3, generic (for aarch64) or native. Default:
    /// native; with --target, the lowest baseline of that target
    #[arg(long, value_name = "BASELINE")]
    cpu: Option<Baseline>,

    /// Number of compiling threads. Default: one for each processor
    #[arg(long, value_name = "N")]
    jobs: Option<NonZeroUsize>,

    /// Count the depth of nested calls, as functions with the limit max_stack_depth require. Every
    /// call then takes a few more instructions
    #[arg(long)]
    stack_depth: bool,

    #[command(flatten)]
    preinit: PreinitOptions,
}

/// A message from a compiling thread to the printing thread.
enum Event {
    /// A progress message.
    Note(String),
    /// The file at this index of the command line is done.
    Done(usize, FileReport),
}

/// Compiles all files. Prints the reports in the order of the files, each as early as possible.
pub(crate) fn run(arguments: Arguments, console: &Console) -> Result<Exit> {
    let options = Options::resolve(arguments)?;
    let progress = Progress::new(options.files.len(), console.is_json());
    let (events, received) = mpsc::channel();
    let compiler = FileCompiler::new(&options)?;
    let next = AtomicUsize::new(0);
    let mut finished: BTreeMap<usize, FileReport> = BTreeMap::new();
    let mut printed = 0;
    std::thread::scope(|scope| -> Result<()> {
        for _ in 0..options.jobs.get().min(options.files.len()) {
            let (events, next, compiler, files) =
                (events.clone(), &next, &compiler, &options.files);
            scope.spawn(move || {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(file) = files.get(index) else {
                        return;
                    };
                    // Sending fails only once the printing thread has given up.
                    let note = |text| drop(events.send(Event::Note(text)));
                    let report = compiler.compile(file, &note);
                    if events.send(Event::Done(index, report)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(events);
        for event in received {
            let (index, report) = match event {
                Event::Note(text) => {
                    progress.set_message(&text);
                    continue;
                }
                Event::Done(index, report) => (index, report),
            };
            progress.step();
            finished.insert(index, report);
            while let Some(report) = finished.get(&printed) {
                if !console.is_json() {
                    progress.suspend(|| report.print(console))?;
                }
                printed += 1;
            }
        }
        Ok(())
    })?;
    drop(progress);
    let report = CompileReport {
        files: finished.into_values().collect(),
    };
    if console.is_json() {
        console.print(&report)?;
    }
    Ok(report.exit())
}
