//! The examples of every language, built from source, give the replies of one table on a server.
//!
//! `cargo xtask test` builds them and passes their folder in `FERRITE_EXAMPLES_DIR`; without it
//! there is nothing to call, and the tests say so. Each function has only the permissions that its
//! example declares.

#![allow(clippy::print_stderr, reason = "a skipped test says why")]

mod components;
mod javascript;
mod projects;

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};

use example_cases::{Call, Case, Connection, read, run_on_server};
use ferrite_tests::{EngineKind, Reply, Server};

/// Calls every function of a built module as the table says. `folder` below `examples` holds its
/// source.
fn cases_hold(module: &str, folder: &str, cases: &[Case]) {
    cases_hold_on(&Server::start(), module, folder, cases);
}

/// The same on this server.
pub(crate) fn cases_hold_on(server: &Server, module: &str, folder: &str, cases: &[Case]) {
    cases_hold_at(server.address(), module, folder, cases, &[]);
}

/// The same on the server at this address; the module is loaded with more options.
fn cases_hold_at(address: SocketAddr, module: &str, folder: &str, cases: &[Case], more: &[&[u8]]) {
    let stream = TcpStream::connect(address).expect("the server listens");
    let mut connection = Connection::new(stream);
    if load(&mut connection, module, folder, more) {
        run_on_server(cases, &mut connection, |case, call| {
            request(module, case, call)
        });
    }
}

/// Loads a built module with the permissions that its example declares; returns false if it is not built here.
pub(crate) fn load(
    connection: &mut Connection<TcpStream>,
    module: &str,
    folder: &str,
    more: &[&[u8]],
) -> bool {
    let Some(built) = env::var_os("FERRITE_EXAMPLES_DIR").map(PathBuf::from) else {
        eprintln!("skipped: FERRITE_EXAMPLES_DIR names no folder of built examples");
        return false;
    };
    // A program in JavaScript is not built.
    let program = built.join(module).with_extension("js");
    let wasm = built.join(module).with_extension("wasm");
    if module == "assemblyscript" && !wasm.is_file() {
        eprintln!("skipped: the functions in AssemblyScript are built only where there is npm");
        return false;
    }
    if module == "from-lua-python" && !built.join("python.wasm").is_file() {
        eprintln!("skipped: the functions in Python are built only where there is componentize-py");
        return false;
    }
    let (command, source): (&[&[u8]], _) = if program.is_file() {
        (&[b"WASM.DEFINE", module.as_bytes(), b"JS"], program)
    } else {
        (&[b"WASM.LOAD", module.as_bytes()], wasm)
    };
    let source = fs::read(&source).unwrap_or_else(|error| panic!("{}: {error}", source.display()));
    let beside = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../examples")
        .join(folder);
    let permissions =
        fs::read(beside.join("permissions.json")).expect("the example declares its permissions");
    let options: &[&[u8]] = &[b"PERMISSIONS", &permissions];
    let load = [command, &[&source], options, more].concat();
    let loaded = connection.command(&load).expect("a reply");
    assert!(
        format!("{loaded:?}").starts_with("Bulk"),
        "{module}: {loaded:?}"
    );
    true
}

/// A call as a `WASM.CALL` of one of the module's entries.
pub(crate) fn request(module: &str, case: &Case, call: &Call) -> Vec<Vec<u8>> {
    let mut argv = vec![
        b"WASM.CALL".to_vec(),
        format!("{module}.{}", case.function).into_bytes(),
    ];
    for (word, values) in [("KEYS", &call.keys), ("ARGS", &call.args)] {
        argv.push(word.as_bytes().to_vec());
        argv.extend(values.iter().map(|value| value.as_ref().to_owned()));
    }
    argv
}

/// The table's cases of these functions.
pub(crate) fn of(functions: &[&str]) -> Vec<Case> {
    functions
        .iter()
        .flat_map(|function| example_cases::of(function))
        .collect()
}

/// The functions that are written in every language.
const COMMON: &[&str] = &["rate_limit", "validate_user", "aggregate_stats"];

#[test]
fn rust() {
    for function in [
        "rate_limit",
        "validate_user",
        "aggregate_stats",
        "json_patch",
    ] {
        cases_hold(function, function, &of(&[function]));
    }
}

#[test]
fn assemblyscript() {
    cases_hold("assemblyscript", "assemblyscript", &of(COMMON));
}

#[test]
fn javascript() {
    cases_hold("javascript", "javascript", &of(COMMON));
}

#[test]
fn go() {
    cases_hold("go", "go", &of(COMMON));
}

#[test]
fn python() {
    cases_hold("python", "python", &of(COMMON));
}

/// The common functions in both interpreted languages, on the server at this address, which knows no limits but its
/// defaults.
fn interpreted_under_each_isolation(address: SocketAddr) {
    for isolation in ["rewind", "fresh", "reuse"] {
        for module in ["javascript", "python"] {
            let more: &[&[u8]] = &[b"ISOLATION", isolation.as_bytes(), b"REPLACE"];
            cases_hold_at(address, module, module, &of(COMMON), more);
        }
    }
}

#[test]
fn javascript_and_python_under_each_isolation() {
    interpreted_under_each_isolation(Server::start().address());
}

#[test]
fn javascript_and_python_in_valkey_and_redis_under_each_isolation() {
    // Python takes long to compile.
    let folder = tempfile::tempdir().expect("a temporary folder");
    let cache = folder.path().join("cache");
    let cache = cache.to_str().expect("text");
    for kind in EngineKind::ends_here() {
        let engine = kind.builder().module(&["cache-dir", cache]).start();
        interpreted_under_each_isolation(engine.address());
    }
}

#[test]
fn c() {
    cases_hold("c_functions", "c", &of(COMMON));
}

/// All names together have twice as many bytes as the function may use.
#[test]
fn statistics_over_many_keys_need_little_memory() {
    const NAMES: usize = 20_000;
    let server = Server::builder()
        .config("[wasm.limits]\nmax_memory = \"2MB\"\nmax_fuel = 1000000000")
        .start();
    let mut client = server.client();
    for first in (0..NAMES).step_by(1_000) {
        let mut words = vec!["MSET".to_owned()];
        for number in first..first + 1_000 {
            // Dates that are not asked for, so that their values are not read.
            words.extend([format!("stats:{number:0200}:1999-12-31"), String::new()]);
        }
        assert_eq!(client.call(&words), Reply::Simple("OK".into()));
    }
    client.run("HSET stats:one:2024-01-01 hits 3");
    client.run("HSET stats:two:2024-01-02 hits 4");
    let Some(built) = env::var_os("FERRITE_EXAMPLES_DIR").map(PathBuf::from) else {
        eprintln!("skipped: FERRITE_EXAMPLES_DIR names no folder of built examples");
        return;
    };
    for module in ["aggregate_stats", "c_functions"] {
        let source = fs::read(built.join(module).with_extension("wasm")).expect("it is built");
        let loaded = client.call(&[b"WASM.LOAD", module.as_bytes(), &source]);
        assert!(loaded.error().is_none(), "{module}: {loaded:?}");
        let call = format!("WASM.CALL {module}.aggregate_stats ARGS stats:* 2024-01-01 2024-12-31");
        let reply = client.run(&call);
        assert_eq!(
            reply.at("hits"),
            Some(&Reply::Int(7)),
            "{module}: {reply:?}"
        );
    }
}

#[test]
fn webassembly_by_hand() {
    cases_hold("compare_and_set", "wat", &of(&["compare_and_set"]));
}

/// The table of what replaces scripts in Lua, applied to its functions in one language.
fn what_replaces_lua_holds(module: &str, folder: &str) {
    let cases = read(include_str!("../../../examples/from-lua/cases.json")).expect("a table");
    let functions: BTreeSet<_> = cases.iter().map(|case| &case.function).collect();
    assert_eq!(functions.len(), 20);
    cases_hold(module, folder, &cases);
}

#[test]
fn what_replaces_lua() {
    what_replaces_lua_holds("from_lua", "from-lua");
}

#[test]
fn what_replaces_lua_in_javascript() {
    what_replaces_lua_holds("from_lua_javascript", "from-lua-javascript");
}

#[test]
fn what_replaces_lua_in_python() {
    what_replaces_lua_holds("from-lua-python", "from-lua-python");
}
