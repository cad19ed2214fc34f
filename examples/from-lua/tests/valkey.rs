//! The Lua originals in a real Valkey give the replies of the same table as the functions.
//!
//! The variable `FERRITE_VALKEY_SERVER` names the server's binary; without it there is nothing to
//! compare with, and the test says so.

use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::{env, fs, thread};

use example_cases::{Call, Case, Connection, read, run_on_server};

/// A server in a folder of its own, which ends with the test.
struct Valkey {
    process: Child,
    folder: tempfile::TempDir,
}

impl Valkey {
    fn start(binary: &Path) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let process = Command::new(binary)
            .args(["--port", "0", "--save", "", "--unixsocket", "valkey.sock"])
            .current_dir(folder.path())
            .stdout(Stdio::null())
            .spawn()
            .expect("FERRITE_VALKEY_SERVER can be run");
        Self { process, folder }
    }

    /// Connects as soon as the server listens.
    fn connect(&mut self) -> Connection<UnixStream> {
        let socket = self.folder.path().join("valkey.sock");
        loop {
            if let Ok(stream) = UnixStream::connect(&socket) {
                return Connection::new(stream);
            }
            let ended = self.process.try_wait().expect("our own child");
            assert!(ended.is_none(), "the server ended: {ended:?}");
            thread::yield_now();
        }
    }
}

impl Drop for Valkey {
    fn drop(&mut self) {
        // It may have ended by itself, which is just as well.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A call as the command that evaluates the script of the function's name.
fn eval(case: &Case, call: &Call) -> Vec<Vec<u8>> {
    let path = format!("{}/lua/{}.lua", env!("CARGO_MANIFEST_DIR"), case.function);
    let script = fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let mut argv = vec![
        b"EVAL".to_vec(),
        script,
        call.keys.len().to_string().into_bytes(),
    ];
    let input = call.keys.iter().chain(&call.args);
    argv.extend(input.map(|value| value.as_ref().to_owned()));
    argv
}

#[test]
#[allow(clippy::print_stderr, reason = "whoever runs the test wants to know")]
fn the_lua_originals_give_the_same_replies() {
    let Some(binary) = env::var_os("FERRITE_VALKEY_SERVER") else {
        eprintln!("skipped: FERRITE_VALKEY_SERVER names no server to run the scripts in");
        return;
    };
    let cases = read(include_str!("../cases.json")).expect("the table is well-formed");
    let mut valkey = Valkey::start(Path::new(&binary));
    run_on_server(&cases, &mut valkey.connect(), eval);
}
