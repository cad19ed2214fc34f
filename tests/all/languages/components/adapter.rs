//! The adapter in the compiler is what its source compiles to.

use std::fs;
use std::path::Path;

/// `FERRITE_BLESS=1` writes `adapter.wasm` anew.
#[test]
fn the_adapter_is_built_from_its_source() {
    let Some(python) = super::python() else {
        return;
    };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../compiler/src/flatten/adapter");
    let scratch = tempfile::tempdir().expect("there is room for a folder");
    let built = scratch.path().join("adapter.wasm");
    // Built-in functions would be calls of a C library, and tables for jumps data.
    let flags = ["-O2", "-fno-builtin", "-fno-jump-tables"];
    super::compile(&python, &folder.join("adapter.c"), &flags, &built);
    let built = fs::read(&built).expect("it was built");
    let kept = folder.join("adapter.wasm");
    if std::env::var_os("FERRITE_BLESS").is_some() {
        fs::write(&kept, &built).expect("it can be written");
    }
    assert!(
        fs::read(&kept).expect("it is there") == built,
        "{} is another one than its source gives; FERRITE_BLESS=1 writes it anew",
        kept.display()
    );
}
