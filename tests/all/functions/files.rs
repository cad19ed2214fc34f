//! Files of functions, on the server, in Valkey and on the command line.

#![allow(clippy::print_stderr, reason = "a skipped test says why")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use ferrite_tests::{Client, EngineKind, Reply, Server, program};

const PERMISSIONS: &str = r#"{"allow_filesystem": ["tables", "tmp"]}"#;

/// The built example; `None` where it was not built.
fn example() -> Option<PathBuf> {
    let Some(built) = std::env::var_os("FERRITE_EXAMPLES_DIR") else {
        eprintln!("skipped: FERRITE_EXAMPLES_DIR names no folder of built examples");
        return None;
    };
    Some(Path::new(&built).join("lookup.wasm"))
}

/// A folder with the example's table.
fn tables() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let table =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/files/tables/countries.tsv");
    fs::copy(table, folder.path().join("countries.tsv")).expect("the example has a table");
    folder
}

fn texts(reply: &Reply) -> Vec<String> {
    let items = reply.elements().unwrap_or_else(|| panic!("{reply:?}"));
    let texts = items.iter().map(|item| item.text().expect("text"));
    texts.map(str::to_owned).collect()
}

/// Looks lines up, also after the table was replaced.
fn looks_up(client: &mut Client, wasm: &[u8], tables: &Path) {
    let words: [&[u8]; 5] = [
        b"WASM.LOAD",
        b"l",
        wasm,
        b"PERMISSIONS",
        PERMISSIONS.as_bytes(),
    ];
    let reply = client.call(&words);
    assert!(reply.text().is_some(), "{reply:?}");
    let found = client.run("WASM.CALL l.country_of ARGS ch");
    assert_eq!(texts(&found), ["Switzerland", "CHF"]);
    assert_eq!(client.run("WASM.CALL l.country_of ARGS xx"), Reply::Null);
    for _ in 0..2 {
        let found = client.run("WASM.CALL l.with_currency ARGS EUR");
        assert_eq!(texts(&found), ["Austria", "Germany", "France"]);
        let found = client.run("WASM.CALL l.with_currency ARGS USD");
        assert_eq!(texts(&found), Vec::<String>::new());
    }
    let new = tables.join("new");
    fs::write(&new, "xx\tNowhere\tEUR\n").expect("a file");
    fs::rename(new, tables.join("countries.tsv")).expect("it is replaced");
    let found = client.run("WASM.CALL l.with_currency ARGS EUR");
    assert_eq!(texts(&found), ["Nowhere"]);
    let names: Vec<_> = fs::read_dir(tables).expect("a folder").collect();
    assert_eq!(names.len(), 1, "nothing was written");
}

#[test]
fn a_table_is_read_on_the_server() {
    let Some(wasm) = example() else { return };
    let wasm = fs::read(wasm).expect("it is built");
    let tables = tables();
    let offered = format!("tables={},tmp:scratch=64KB", tables.path().display());
    let server = Server::builder()
        .arguments(&["--wasm-security-allow-filesystem", &offered])
        .start();
    looks_up(&mut server.client(), &wasm, tables.path());

    // A server that does not offer the directories refuses the function.
    let words: [&[u8]; 5] = [
        b"WASM.LOAD",
        b"l",
        &wasm,
        b"PERMISSIONS",
        PERMISSIONS.as_bytes(),
    ];
    let reply = Server::start().client().call(&words);
    let error = reply.error().expect("an error");
    assert!(
        error.starts_with("NOPERM allow_filesystem has \"tables\""),
        "{error}"
    );
}

#[test]
fn a_table_is_read_in_valkey_and_redis() {
    let Some(wasm) = example() else { return };
    let wasm = fs::read(wasm).expect("it is built");
    for kind in EngineKind::ends_here() {
        let tables = tables();
        let offered = format!("tables={}", tables.path().display());
        let engine = kind
            .builder()
            .module(&[
                "allow-filesystem",
                &offered,
                "allow-filesystem",
                "tmp:scratch=64KB",
            ])
            .start();
        looks_up(&mut engine.client(), &wasm, tables.path());
    }
}

#[test]
fn a_table_is_read_on_the_command_line() {
    let Some(wasm) = example() else { return };
    let tables = tables();
    let output = Command::new(program("ferrite-wasmc", "FERRITE_WASMC_BIN"))
        .arg("run")
        .arg(format!("{}:with_currency", wasm.display()))
        .args(["--arg", "CHF", "--permissions", PERMISSIONS])
        .arg("--dir")
        .arg(format!("tables={}", tables.path().display()))
        .args(["--dir", "tmp:scratch=64KB"])
        .current_dir(tables.path())
        .output()
        .expect("it runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        text.contains("Switzerland") && text.contains("Liechtenstein"),
        "{output:?}"
    );
}
