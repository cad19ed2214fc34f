//! Checks the files that only run elsewhere: workflows, container files, charts, shell scripts.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::run;
use crate::tools::Python;
use crate::workspace::Workspace;

/// Workflows of this repository, and the example.
const WORKFLOWS: [&str; 5] = [
    ".github/workflows/fuzz.yml",
    ".github/workflows/memory.yml",
    ".github/workflows/release.yml",
    ".github/workflows/test.yml",
    "examples/ci/release.yml",
];

/// Files with a schema that check-jsonschema has, by the schema's name.
const WITH_SCHEMA: &[(&str, &[&str])] = &[
    ("vendor.github-workflows", &WORKFLOWS),
    (
        "vendor.github-actions",
        &[".github/actions/setup-ferrite/action.yml"],
    ),
    ("vendor.compose-spec", &["packaging/container/compose.yaml"]),
];

/// Checks all of them.
///
/// # Errors
/// If a file has a fault, or a tool is missing.
pub(crate) fn lint(workspace: &Workspace) -> Result<()> {
    let python = Python::packaging(workspace)?;
    let tool = |name: &str| {
        let mut command = workspace.command(python.interpreter.with_file_name(name));
        command.current_dir(&workspace.root);
        command
    };
    for (schema, files) in WITH_SCHEMA {
        let mut check = tool("check-jsonschema");
        run::run(check.args(["--builtin-schema", schema]).args(*files))?;
    }
    // Injected expressions, permissions that are too wide, credentials that stay behind.
    let mut zizmor = tool("zizmor");
    zizmor.args([
        "--offline",
        "--quiet",
        "--no-progress",
        "--min-severity",
        "low",
    ]);
    run::run(zizmor.args([".github", "examples/ci/release.yml"]))?;
    let mut hadolint = tool("hadolint");
    hadolint.args(["--failure-threshold", "warning"]);
    run::run(hadolint.args(container_files(workspace)?))?;
    // Expressions, runners, contexts; and by shellcheck the scripts within.
    let mut actionlint = tool("actionlint");
    actionlint.arg("-no-color").arg("-shellcheck");
    actionlint.arg(python.interpreter.with_file_name("shellcheck"));
    run::run(actionlint.args(WORKFLOWS))?;
    run::run(tool("shellcheck").args(scripts(workspace)?))?;
    book(workspace, tool("mdbook"))
}

/// Builds the documentation as a book, into `target/book`, by mdBook.
///
/// # Errors
/// If a page is missing or stands in no chapter, or a link or a script in the book leads nowhere.
fn book(workspace: &Workspace, mut mdbook: Command) -> Result<()> {
    let docs = workspace.root.join("docs");
    let summary = fs::read_to_string(docs.join("SUMMARY.md"))?;
    for folder in ["", "guide"] {
        for entry in fs::read_dir(docs.join(folder))? {
            let path = entry?.path();
            let page = path.strip_prefix(&docs)?.display().to_string();
            let is_page = path.extension().is_some_and(|extension| extension == "md");
            if is_page && page != "SUMMARY.md" && !summary.contains(&format!("({page})")) {
                bail!("docs/{page} is in no chapter of the book; name it in docs/SUMMARY.md");
            }
        }
    }
    run::run(mdbook.args(["build", "docs"]))?;
    let mut check = workspace.command("python3");
    check.args(["xtask/book-links.py", "check", "target/book"]);
    run::run(&mut check)
}

fn container_files(workspace: &Workspace) -> Result<Vec<PathBuf>> {
    let folder = workspace.root.join("packaging/container");
    let mut files = Vec::new();
    for entry in
        fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))?
    {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with("Dockerfile") {
            files.push(path);
        }
    }
    if files.is_empty() {
        bail!("there is no container file in {}", folder.display());
    }
    Ok(files)
}

/// The shell scripts of the repository: files whose first line names a shell.
fn scripts(workspace: &Workspace) -> Result<Vec<PathBuf>> {
    let mut scripts = Vec::new();
    for entry in ignore::WalkBuilder::new(&workspace.root)
        .hidden(false)
        .build()
    {
        let path = entry?.into_path();
        if path.is_file() && first_line(&path)?.is_some_and(|line| names_shell(&line)) {
            scripts.push(path);
        }
    }
    scripts.sort();
    Ok(scripts)
}

/// The first line of a text file, without what is beyond its first bytes.
fn first_line(path: &Path) -> Result<Option<String>> {
    let mut bytes = Vec::new();
    fs::File::open(path)
        .and_then(|file| file.take(64).read_to_end(&mut bytes))
        .with_context(|| format!("cannot read {}", path.display()))?;
    let line = bytes
        .split(|&byte| byte == b'\n')
        .next()
        .unwrap_or_default();
    Ok(String::from_utf8(line.to_vec()).ok())
}

/// Returns true for `#!/bin/sh`, `#!/usr/bin/env bash` and the like.
fn names_shell(line: &str) -> bool {
    let program = line.strip_prefix("#!").map(|rest| {
        let mut words = rest.split_whitespace();
        let first = words.next().unwrap_or_default();
        let first = first.rsplit('/').next().unwrap_or_default();
        if first == "env" {
            words.next().unwrap_or_default()
        } else {
            first
        }
    });
    matches!(program, Some("sh" | "bash"))
}

#[cfg(test)]
mod tests {
    use super::names_shell;

    #[test]
    fn scripts_are_told_by_their_first_line() {
        assert!(names_shell("#!/bin/sh"));
        assert!(names_shell("#!/usr/bin/env bash"));
        assert!(names_shell("#! /bin/bash -e"));
        assert!(!names_shell("#!/usr/bin/env python3"));
        assert!(!names_shell("# a remark about sh"));
    }
}
