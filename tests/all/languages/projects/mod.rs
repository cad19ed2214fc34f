//! A new user's way: a project of each language, built, tested, run here and called on a server.
//!
//! A language without its tools is skipped, and the test says so. The tools may fetch missing
//! packages from their registries.

#![allow(clippy::print_stderr, reason = "a skipped test says why")]

mod behaviour;
mod deployed;
mod python;

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use ferrite_tests::{Reply, Server, program};

/// Sets the environment that the tools need and that other tests do not have.
fn tools(command: &mut Command) -> &mut Command {
    // The Python of the tests has the compilers for Go and C.
    let python = env::var_os("FERRITE_PYTHON");
    let bin = python.as_deref().and_then(|it| Path::new(it).parent());
    let compiler = program("ferrite-wasmc", "FERRITE_WASMC_BIN");
    let folders = bin.into_iter().chain(compiler.parent());
    let inherited = env::var_os("PATH").unwrap_or_default();
    let path = env::join_paths(
        folders
            .map(Path::to_owned)
            .chain(env::split_paths(&inherited)),
    );
    command.env("PATH", path.expect("folders have no colons"));
    // Cargo sets variables about the package whose program it runs. Those of `rustup` stay: without
    // them, its proxies may install another compiler.
    for (variable, _) in env::vars_os() {
        let name = variable.as_encoded_bytes();
        let of_cargo = name.starts_with(b"CARGO_") && name != b"CARGO_HOME";
        let of_rustc = name.starts_with(b"RUST") && !name.starts_with(b"RUSTUP_");
        if of_cargo || of_rustc {
            command.env_remove(&variable);
        }
    }
    command
}

/// Runs a command in a folder until it ends.
fn output(program: impl Into<OsString>, arguments: &[&str], folder: &Path) -> Output {
    let mut command = Command::new(program.into());
    command.args(arguments).current_dir(folder);
    tools(&mut command)
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

/// Runs a command that has to succeed; returns its output.
fn printed(program: impl Into<OsString>, arguments: &[&str], folder: &Path) -> String {
    let output = output(program, arguments, folder);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, errors) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{arguments:?}: {out}{errors}");
    out
}

/// Returns true if `doctor` finds the tools of a language.
fn is_there(language: &str, folder: &Path) -> bool {
    let report = printed("ferrite-wasmc", &["doctor"], folder);
    let line = |line: &&str| line.split_whitespace().nth(1) == Some(language);
    let found = report.lines().find(line).unwrap_or_default();
    if !found.starts_with("ok") {
        eprintln!("skipped: {found}");
    }
    found.starts_with("ok")
}

fn goes_the_whole_way(language: &str, test: &[&[&str]]) {
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let folder = folder.path();
    if !is_there(language, folder) {
        return;
    }
    printed(
        "ferrite-wasmc",
        &["new", "limits", "--lang", language],
        folder,
    );
    let project = folder.join("limits");
    let wasmc = "ferrite-wasmc";
    // The project's README tests first, and then builds.
    for command in test {
        let (tool, arguments) = command.split_first().expect("a command has a name");
        printed(*tool, arguments, &project);
    }
    printed(wasmc, &["build"], &project);

    if language == "rust" {
        let module = project.join("build/limits.wasm");
        let bytes = module.metadata().expect("it was built").len();
        assert!(bytes < 30_000, "a rate limiter of {bytes} bytes");
    }
    let call = ["--key", "api:1", "--arg", "2", "--arg", "60"];
    let run = [
        "run",
        "build/limits.wasm:rate_limit",
        "--permissions",
        "read-write",
    ];
    let run: Vec<&str> = run.into_iter().chain(call).collect();
    assert_eq!(printed(wasmc, &run, &project), "(integer) 1\n");
    // The project's settings have the entry and the permissions.
    let run = [&["run", "."], &call[..]].concat();
    assert_eq!(printed(wasmc, &run, &project), "(integer) 1\n");
    assert_eq!(printed(wasmc, &["test"], &project), "2 passed, 0 failed\n");
    if language != "python" {
        blesses(&project);
    }
    // The error names the parameter in every language.
    let wrong = [
        "run",
        ".:rate_limit",
        "--key",
        "api:1",
        "--arg",
        "two",
        "--arg",
        "60",
    ];
    let reply = output(wasmc, &wrong, &project);
    let text = String::from_utf8_lossy(&reply.stdout).into_owned();
    assert!(
        text.starts_with("(error) ERR rate_limit: 'limit' (ARGS[1], "),
        "{text}"
    );
    assert_eq!(reply.status.code(), Some(1));

    // The server finds the code in the project's cache, by the digest that `build` prints.
    let built = printed(wasmc, &["build"], &project);
    let digest = built
        .split_whitespace()
        .find(|word| word.starts_with("blake3:"))
        .unwrap_or_else(|| panic!("no digest in {built}"));
    let server = Server::builder().dir(&project).start();
    let mut client = server.client();
    // An interpreter needs more than the defaults, and its project says so.
    let limits = match language {
        "python" => " LIMITS {\"max_memory\":\"64MB\",\"max_fuel\":200000000}",
        _ => "",
    };
    let loaded = client.run(&format!(
        "WASM.LOAD limits {digest} PERMISSIONS {{\"allow_write\":true}}{limits}"
    ));
    assert_eq!(loaded, Reply::Bulk(digest.as_bytes().to_vec()));
    let call = "WASM.CALL limits.rate_limit KEYS api:1 ARGS 2 60";
    let replies: Vec<Reply> = (0..3).map(|_| client.run(call)).collect();
    assert_eq!(replies, [Reply::Int(1), Reply::Int(1), Reply::Int(0)]);

    if language == "rust" {
        deployed::by_hand(&project);
    }
    deployed::over_one_that_may_more(&project, &server);
    deployed::over_tls(&project);

    // Code that counts its calls is stored beside the other.
    let counts = |listing: &str| listing.contains("depth counted");
    assert!(!counts(&printed(wasmc, &["cache", "ls"], &project)));
    printed(wasmc, &["build", "--stack-depth"], &project);
    assert!(counts(&printed(wasmc, &["cache", "ls"], &project)));
}

/// Lets a wrong reply in the project's cases be written anew.
fn blesses(project: &Path) {
    let path = project.join("tests/rate_limit.cases");
    let text = fs::read_to_string(&path).expect("the project has cases");
    fs::write(&path, text.replacen("(integer) 1", "(integer) 7", 1)).expect("it can be written");
    let failed = output("ferrite-wasmc", &["test"], project);
    let shown = String::from_utf8_lossy(&failed.stdout).into_owned();
    assert!(
        shown.contains("  expected (integer) 7\n  found    (integer) 1\n"),
        "{shown}"
    );
    assert_eq!(
        printed("ferrite-wasmc", &["test", "--bless"], project),
        "1 reply is written; read the difference\n2 passed, 0 failed\n"
    );
    assert_eq!(fs::read_to_string(&path).expect("it is there"), text);
}

#[test]
fn rust() {
    goes_the_whole_way("rust", &[&["cargo", "test", "--quiet"]]);
}

/// Makes the change that the guide describes in a new project.
#[test]
fn rust_without_its_standard_library() {
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let folder = folder.path();
    if !is_there("rust", folder) {
        return;
    }
    let wasmc = "ferrite-wasmc";
    printed(wasmc, &["new", "limits", "--lang", "rust"], folder);
    let project = folder.join("limits");
    let change = |file: &str, before: &str, after: &str| {
        let path = project.join(file);
        let text = fs::read_to_string(&path).expect("the project has it");
        assert!(text.contains(before), "{text}");
        fs::write(path, text.replacen(before, after, 1)).expect("it can be written");
    };
    change(
        "Cargo.toml",
        "path = \"ferrite-sdk/rust\"",
        "path = \"ferrite-sdk/rust\", default-features = false, features = [\"allocator\"]",
    );
    change("Cargo.toml", "strip = \"debuginfo\"", "strip = \"symbols\"");
    change(
        "src/lib.rs",
        "use ferrite_wasm_sdk::*;\n",
        r#"#![cfg_attr(target_family = "wasm", no_std)]

use ferrite_wasm_sdk::*;

#[cfg(target_family = "wasm")]
#[panic_handler]
fn panicked(info: &core::panic::PanicInfo<'_>) -> ! {
    ferrite_wasm_sdk::panicked(info)
}
"#,
    );
    printed(wasmc, &["build"], &project);
    let module = project.join("build/limits.wasm");
    let bytes = module.metadata().expect("it was built").len();
    // Some 17,500; a toolchain that has the library's source writes longer paths of it into panics.
    assert!(bytes < 18_000, "a rate limiter of {bytes} bytes");
    let function = "build/limits.wasm:rate_limit";
    let allowed = ["--permissions", "read-write"];
    let call = ["--key", "api:1", "--arg", "2", "--arg", "60"];
    let run = [&["run", function], &allowed[..], &call[..]].concat();
    assert_eq!(printed(wasmc, &run, &project), "(integer) 1\n");

    change(
        "src/lib.rs",
        "#[cfg(test)]",
        r#"/// The byte at an index.
#[ferrite_function]
pub fn byte_at(bytes: &[u8], index: usize) -> i64 {
    bytes[index].into()
}

#[cfg(test)]"#,
    );
    printed(wasmc, &["build"], &project);
    let at = |index| ["run", ".:byte_at", "--arg", "abc", "--arg", index];
    assert_eq!(printed(wasmc, &at("1"), &project), "(integer) 98\n");
    let reply = output(wasmc, &at("7"), &project);
    let text = String::from_utf8_lossy(&reply.stdout).into_owned();
    assert!(
        text.starts_with("(error) TRAP panic: index out of bounds: the len is 3"),
        "{text}"
    );
}

#[test]
fn typescript() {
    goes_the_whole_way(
        "typescript",
        &[
            &["npm", "install", "--silent"],
            &["npm", "test", "--silent"],
        ],
    );
}

#[test]
fn javascript() {
    goes_the_whole_way("javascript", &[&["ferrite-wasmc", "build"]]);
}

#[test]
fn assemblyscript() {
    goes_the_whole_way("assemblyscript", &[&["npm", "install"], &["npm", "test"]]);
}

#[test]
fn go() {
    goes_the_whole_way("go", &[&["go", "test", "."]]);
}

#[test]
fn c() {
    goes_the_whole_way("c", &[&["sh", "tests/test.sh"]]);
}

#[test]
fn python() {
    let test = [
        "python3",
        "-m",
        "pytest",
        "--quiet",
        "-p",
        "no:cacheprovider",
    ];
    goes_the_whole_way("python", &[&test]);
}
