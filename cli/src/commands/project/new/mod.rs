//! `ferrite-wasmc new`: creates a project with a function and a test.

mod files;
mod name;

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Serialize;

use crate::language::Language;
use crate::terminal::console::{Console, Exit, Report, UsageError};

/// The arguments of `ferrite-wasmc new`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Folder to create; project and module get its name
    #[arg(value_name = "NAME")]
    folder: PathBuf,

    /// Language to write the functions in
    #[arg(long, value_enum, value_name = "LANGUAGE")]
    lang: Language,
}

/// The created project.
#[derive(Serialize)]
struct NewReport {
    name: String,
    language: Language,
    folder: PathBuf,
    files: usize,
    test: &'static str,
}

/// Writes the project. After an error, the files written so far stay.
pub(crate) fn run(arguments: Arguments, console: &Console) -> Result<Exit> {
    let Arguments { folder, lang } = arguments;
    let Some(name) = folder.file_name() else {
        bail!(UsageError(format!(
            "`{}` names no new folder; give the project's name, such as limits",
            folder.display()
        )));
    };
    let name = name.to_string_lossy().into_owned();
    name::check(&name, lang).map_err(UsageError)?;
    check_free(&folder).with_context(|| folder.display().to_string())?;
    let files = files::of(lang, &name);
    for file in &files {
        let path = folder.join(&file.path);
        file.write(&path)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    console.print(&NewReport {
        name,
        language: lang,
        folder,
        files: files.len(),
        test: lang.test_command(),
    })?;
    Ok(Exit::Done)
}

/// Refuses a folder that is not empty.
fn check_free(folder: &Path) -> Result<()> {
    match folder.read_dir() {
        Ok(mut entries) => match entries.next() {
            Some(_) => {
                bail!("this folder is not empty; choose another name")
            }
            None => Ok(()),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(anyhow::Error::new(error).context("cannot use this as a folder")),
    }
}

impl Report for NewReport {
    fn text(&self, out: &mut dyn Write) -> io::Result<()> {
        let Self {
            name: _,
            language,
            folder,
            files,
            test,
        } = self;
        let folder = folder.display();
        writeln!(out, "made {folder}: {files} files, in {}", language.name())?;
        writeln!(out)?;
        writeln!(out, "  cd {folder}")?;
        writeln!(out, "  {test}")?;
        writeln!(out, "  ferrite-wasmc test")?;
        writeln!(
            out,
            "  ferrite-wasmc run . --key api:1 --arg 100 --arg 60 --profile"
        )
    }
}
