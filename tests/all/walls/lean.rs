//! The programs that serve contain no compiler.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use ferrite_tests::program;

/// Returns true if code or messages of the code generator are in this file.
fn has_compiler(path: &Path) -> bool {
    let bytes = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let text = String::from_utf8_lossy(&bytes);
    [
        "cranelift_codegen",
        "cranelift-codegen-",
        "wasmtime_cranelift",
    ]
    .iter()
    .any(|part| text.contains(part))
}

#[test]
fn neither_the_server_nor_the_module_contains_a_compiler() {
    assert!(
        has_compiler(&program("ferrite-wasmc", "FERRITE_WASMC_BIN")),
        "the compiler is not found where it is"
    );
    assert!(!has_compiler(&program(
        "ferrite-server",
        "FERRITE_SERVER_BIN"
    )));
    if let Some(module) = env::var_os("FERRITE_VALKEY_MODULE").map(PathBuf::from) {
        assert!(!has_compiler(&module));
    }
}
