//! The configuration, as the real program reads it.

use std::process::Output;

use ferrite_tests::{Server, command};

fn run(arguments: &[&str]) -> Output {
    command("ferrite-server", "FERRITE_SERVER_BIN")
        .args(arguments)
        .output()
        .expect("the server can be run")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("UTF-8")
}

#[test]
fn a_configuration_can_be_checked_and_printed() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let file = dir.path().join("ferrite.toml");
    let path = file.to_str().expect("UTF-8");
    std::fs::write(
        &file,
        "[server]\nport = 7000\n[wasm.limits]\nmax_memory = \"4MB\"\n",
    )
    .expect("written");
    let checked = run(&["--config", path, "--check-config"]);
    assert!(checked.status.success(), "{}", text(&checked.stderr));
    assert_eq!(text(&checked.stdout), "the configuration is right\n");

    // Files are looked at, too.
    let checked = run(&["--check-config", "--wasm-compiler", "/nonexistent/wasmc"]);
    assert_eq!(checked.status.code(), Some(2));
    let error = text(&checked.stderr);
    assert!(
        error.contains("wasm.compiler: /nonexistent/wasmc"),
        "{error}"
    );

    let printed = run(&["--config", path, "--print-config", "--port", "7001"]);
    assert!(printed.status.success(), "{}", text(&printed.stderr));
    let printed = text(&printed.stdout);
    assert!(printed.contains("port = 7001\n") && printed.contains("max_memory = \"4MB\"\n"));

    // The printed configuration prints itself again.
    std::fs::write(&file, printed).expect("written");
    let again = run(&["--config", path, "--print-config"]);
    assert_eq!(text(&again.stdout), printed);
}

#[test]
fn a_wrong_configuration_is_told_and_nothing_starts() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let file = dir.path().join("ferrite.toml");
    std::fs::write(&file, "[wasm.limits]\nmax_memroy = \"4MB\"\n").expect("written");
    let output = run(&["--config", file.to_str().expect("UTF-8")]);
    assert_eq!(output.status.code(), Some(2));
    let error = text(&output.stderr);
    assert!(
        error.contains("did you mean \"wasm.limits.max_memory\"?"),
        "{error}"
    );
    assert!(output.stdout.is_empty());

    let output = run(&["--port"]);
    assert_eq!(output.status.code(), Some(2));
    let output = run(&["--config", "/nonexistent/ferrite.toml"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        text(&output.stderr).contains(": No such file"),
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn help_and_version_are_there() {
    let help = run(&["--help"]);
    assert!(help.status.success());
    assert!(text(&help.stdout).contains("--wasm-limits-max-memory"));
    let version = run(&["--version"]);
    assert!(text(&version.stdout).starts_with("ferrite-server 0."));
}

#[test]
fn paths_are_taken_from_dir() {
    let server = Server::start();
    assert!(server.dir().join("cache/wasm").is_dir());
    assert!(server.dir().join("data/store").is_dir());
}

#[test]
fn functions_can_be_switched_off() {
    let server = Server::builder()
        .config("[wasm]\nenabled = false\n")
        .start();
    let mut client = server.client();
    let reply = client.run("WASM.LIST");
    assert!(
        reply.error().expect("off").contains("wasm.enabled"),
        "{reply:?}"
    );
    assert_eq!(client.run("PING").text(), Some("PONG"));
}
