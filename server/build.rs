//! Tells the compiler the commit, for `ferrite-server --version`.

use std::path::PathBuf;
use std::{env, io};

#[path = "../packaging/commit.rs"]
mod commit;

fn main() -> io::Result<()> {
    let variable = |name: &str| env::var(name).unwrap_or_default();
    let home = PathBuf::from(variable("CARGO_MANIFEST_DIR"));
    commit::tell(
        &mut io::stdout(),
        &home.join(".."),
        &variable("PROFILE"),
        &variable(commit::VARIABLE),
    )
}
