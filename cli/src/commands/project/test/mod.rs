//! `ferrite-wasmc test`: runs a project's cases on this machine, on the real runtime.

mod cases;
mod session;

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Serialize;

use crate::commands::run::loaded::{Loaded, Policy};
use crate::files::atomic_file;
use crate::files::bounded_file;
use crate::files::cache_folder::CacheFolder;
use crate::precompile::PreinitOptions;
use crate::project::settings::Settings;
use crate::project::{Project, function_name};
use crate::terminal::console::{Console, Exit, Report};
use cases::CaseFile;
use session::Session;

/// The largest file of cases, in bytes.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// The arguments of `ferrite-wasmc test`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Folder of the project, which is built first. Its cases are the files tests/*.cases
    #[arg(default_value = ".", value_name = "DIR")]
    folder: PathBuf,

    /// Run only cases whose names contain this
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,

    /// Write the replies into the files instead of comparing them
    #[arg(long)]
    bless: bool,

    #[command(flatten)]
    cache: CacheFolder,

    #[command(flatten)]
    preinit: PreinitOptions,
}

/// The result of all cases.
#[derive(Serialize)]
struct TestReport {
    passed: usize,
    failed: usize,
    failures: Vec<Failure>,
    /// Replies that `--bless` has written, because others stood there.
    written: usize,
}

/// A reply that differs.
#[derive(Serialize)]
struct Failure {
    file: PathBuf,
    line: usize,
    case: String,
    command: String,
    expected: String,
    found: String,
}

/// Builds the project and runs its cases.
pub(crate) fn run(arguments: Arguments, console: &Console) -> Result<Exit> {
    let Arguments {
        folder,
        only,
        bless,
        cache,
        preinit,
    } = arguments;
    let project = Project::find(&folder)?;
    let files = case_files(&folder)?;
    let settings = Settings::of(&folder)?;
    let module = project.build_one(console)?;
    let name = match settings.name {
        Some(name) => name,
        None => function_name(&module)?,
    };
    let policy = Policy {
        permissions: settings.permissions.unwrap_or_default(),
        limits: settings.limits.unwrap_or_default(),
        isolation: settings.isolation,
        ..Policy::default()
    };
    let loaded = Loaded::find(&module, name, &cache, preinit.choice(), policy, console)?;
    let mut report = TestReport {
        passed: 0,
        failed: 0,
        failures: Vec::new(),
        written: 0,
    };
    for path in files {
        let shown = path.display().to_string();
        let bytes = bounded_file::read(&path, FILE_BYTES_MAX)?;
        let text = String::from_utf8(bytes).with_context(|| format!("{shown}: it is not UTF-8"))?;
        let mut file = CaseFile::parse(&text).with_context(|| shown.clone())?;
        for case in &mut file.cases {
            if only.as_ref().is_some_and(|part| !case.name.contains(part)) {
                continue;
            }
            let session = Session::start(&loaded)?;
            let before = report.failures.len();
            for step in &mut case.steps {
                let found = session
                    .run(&step.command)
                    .with_context(|| format!("{shown}: line {}", step.line))?;
                if bless {
                    report.written += usize::from(found != step.expected);
                    step.expected = found;
                } else if found != step.expected {
                    report.failures.push(Failure {
                        file: path.clone(),
                        line: step.line,
                        case: case.name.clone(),
                        command: step.command.clone(),
                        expected: step.expected.clone(),
                        found,
                    });
                }
            }
            if report.failures.len() == before {
                report.passed += 1;
            } else {
                report.failed += 1;
            }
        }
        if bless && file.text() != text {
            atomic_file::write(&path, 0o644, false, |out| {
                Ok(out.write_all(file.text().as_bytes())?)
            })?;
        }
    }
    if report.passed + report.failed == 0 {
        bail!(
            "no case has a name with `{}` in it",
            only.unwrap_or_default()
        );
    }
    console.print(&report)?;
    Ok(if report.failed == 0 {
        Exit::Done
    } else {
        Exit::Failed
    })
}

/// Returns the files of cases of a project, in order.
fn case_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let tests = folder.strip_prefix(".").unwrap_or(folder).join("tests");
    let mut files = Vec::new();
    if tests.is_dir() {
        for entry in tests
            .read_dir()
            .with_context(|| format!("cannot list {}", tests.display()))?
        {
            let path = entry
                .with_context(|| format!("cannot list {}", tests.display()))?
                .path();
            if path
                .extension()
                .is_some_and(|extension| extension == "cases")
            {
                files.push(path);
            }
        }
    }
    if files.is_empty() {
        bail!(
            "there is no file {}/*.cases; docs/guide/README.md describes them, and `ferrite-wasmc new` makes one",
            tests.display()
        );
    }
    files.sort();
    Ok(files)
}

impl Report for TestReport {
    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        for failure in &self.failures {
            writeln!(
                out,
                "{}:{}: {}\n> {}",
                failure.file.display(),
                failure.line,
                failure.case,
                failure.command
            )?;
            for line in failure.expected.lines() {
                writeln!(out, "  expected {line}")?;
            }
            for line in failure.found.lines() {
                writeln!(out, "  found    {line}")?;
            }
            writeln!(out)?;
        }
        match self.written {
            0 => {}
            1 => writeln!(out, "1 reply is written; read the difference")?,
            many => writeln!(out, "{many} replies are written; read the difference")?,
        }
        writeln!(out, "{} passed, {} failed", self.passed, self.failed)
    }
}
