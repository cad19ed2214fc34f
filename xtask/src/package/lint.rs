//! Checks the files that only run elsewhere: workflows, container files, charts, shell scripts.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::run;
use crate::tools::Python;
use crate::tools::trixie::mdbook;
use crate::workspace::Workspace;

/// Files with a schema that check-jsonschema has, by the schema's name.
const WITH_SCHEMA: &[(&str, &[&str])] = &[
    (
        "vendor.github-workflows",
        &[".github/workflows/release.yml", "examples/ci/release.yml"],
    ),
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
    scripts(workspace)?;
    book(workspace)
}

/// Builds the documentation as a book, into `target/book`.
///
/// # Errors
/// If a page is missing, or stands in no chapter.
fn book(workspace: &Workspace) -> Result<()> {
    let docs = workspace.root.join("docs");
    let summary = std::fs::read_to_string(docs.join("SUMMARY.md"))?;
    for folder in ["", "guide"] {
        for entry in std::fs::read_dir(docs.join(folder))? {
            let path = entry?.path();
            let page = path.strip_prefix(&docs)?.display().to_string();
            let is_page = path.extension().is_some_and(|extension| extension == "md");
            if is_page && page != "SUMMARY.md" && !summary.contains(&format!("({page})")) {
                bail!("docs/{page} is in no chapter of the book; name it in docs/SUMMARY.md");
            }
        }
    }
    match mdbook::ensure(workspace) {
        Ok(mdbook) => run::run(workspace.command(mdbook).args(["build", "docs"])),
        Err(error) => {
            println!("note: docs/ is not built as a book: {error:#} (cargo install mdbook)");
            Ok(())
        }
    }
}

fn container_files(workspace: &Workspace) -> Result<Vec<PathBuf>> {
    let folder = workspace.root.join("packaging/container");
    let mut files = Vec::new();
    for entry in
        std::fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))?
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

/// Lets each script's shell read it without running it.
fn scripts(workspace: &Workspace) -> Result<()> {
    for (shell, script) in [
        ("sh", "packaging/tarball/install.sh"),
        ("sh", "packaging/debian/server.postinst"),
        ("sh", "packaging/debian/server.prerm"),
        ("sh", "packaging/debian/server.postrm"),
        ("bash", "packaging/container/healthy"),
    ] {
        let mut check = workspace.command(shell);
        run::run(check.arg("-n").arg(workspace.root.join(Path::new(script))))?;
    }
    Ok(())
}
