//! mdBook, which makes the documentation a book.

use std::path::PathBuf;

use anyhow::Result;

use super::Root;
use crate::tools::on_path;
use crate::workspace::Workspace;

/// The program, and the libraries that it needs.
const PACKAGES: [&str; 3] = ["libc6", "libgcc-s1", "mdbook"];

/// The mdBook on the PATH, or one that is fetched into `target/debian/mdbook` the first time.
///
/// # Errors
/// If a package is not available, or something below `target/` cannot be written.
pub(crate) fn ensure(workspace: &Workspace) -> Result<PathBuf> {
    if let Some(program) = on_path("mdbook") {
        return Ok(program);
    }
    let folder = workspace.target.join("debian/mdbook");
    let program = folder.join("mdbook");
    if !program.is_file() {
        std::fs::create_dir_all(&folder)?;
        let root = Root::new(folder.join("root"))?;
        root.fetch(workspace, &PACKAGES)?;
        root.wrap(&program, "mdbook", "")?;
    }
    Ok(program)
}
