//! Components on a server: their replies are those of wasmtime's component runtime.
//!
//! The component is made of `probe.c` and `probe.wat`; `oracle.py` runs it in wasmtime's package for Python, on
//! the Python SDK's store in memory. The server flattens and compiles it. Both get the same generated calls.

#![allow(clippy::print_stderr, reason = "a skipped test says why")]

mod adapter;
mod calls;
mod configuration;
mod files;
mod keyvalue;
mod python;
mod standard;
mod typed;

use std::env;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use ferrite_tests::{Reply, Server};
use serde_json::{Value, json};

use calls::{Call, Generator};

/// Rounds, and calls of each on one store.
const ROUNDS: u64 = 12;
const CALLS: usize = 40;

/// Returns the Python of the tests, which has zig and wasmtime.
fn python() -> Option<PathBuf> {
    let python = env::var_os("FERRITE_PYTHON").map(PathBuf::from);
    if python.is_none() {
        eprintln!("skipped: FERRITE_PYTHON names no Python with ziglang and wasmtime");
    }
    python
}

/// The folder of these tests.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("all/languages/components")
}

/// Compiles a C file for WebAssembly with zig.
fn compile(python: &Path, source: &Path, flags: &[&str], wasm: &Path) {
    let status = Command::new(python)
        .args([
            "-m",
            "ziglang",
            "cc",
            "--target=wasm32-freestanding",
            "-std=c11",
        ])
        .args(["-ffreestanding", "-mbulk-memory", "-nostdlib", "-Wall"])
        .args(["-Wl,--no-entry", "-Wl,--strip-all"])
        .args(flags)
        .arg("-o")
        .arg(wasm)
        .arg(source)
        .env("ZIG_GLOBAL_CACHE_DIR", wasm.with_extension("zig"))
        .status()
        .expect("Python runs");
    assert!(status.success(), "{}: {status}", source.display());
}

/// Puts a module in the place of a component's second core module.
fn with_second_module(component: &[u8], module: &[u8]) -> Vec<u8> {
    /// The section of a core module.
    const CORE_MODULE: u8 = 1;
    let mut spliced = component[..8].to_vec();
    let mut rest = &component[8..];
    let mut modules = 0;
    while let Some((&kind, after)) = rest.split_first() {
        let mut reader = wasmparser::BinaryReader::new(after, 0);
        let len = reader.read_var_u32().expect("a section has a length") as usize;
        let start = reader.original_position();
        let mut content = &after[start..start + len];
        rest = &after[start + len..];
        modules += usize::from(kind == CORE_MODULE);
        if kind == CORE_MODULE && modules == 2 {
            content = module;
        }
        spliced.push(kind);
        let mut len = content.len();
        while len > 0x7f {
            spliced.push(len as u8 & 0x7f | 0x80);
            len >>= 7;
        }
        spliced.push(len as u8);
        spliced.extend_from_slice(content);
    }
    assert!(modules >= 2, "the component has the place");
    spliced
}

/// Builds the component of `NAME.c` and `NAME.wat`.
fn component(python: &Path, name: &str, scratch: &Path) -> Vec<u8> {
    let module = scratch.join("module.wasm");
    let flags = [
        "-O1",
        "-Wl,--import-memory",
        "-Wl,-z,stack-size=16384",
        "-Wl,--global-base=32768",
    ];
    compile(
        python,
        &folder().join(name).with_extension("c"),
        &flags,
        &module,
    );
    let text = fs::read(folder().join(name).with_extension("wat")).expect("it is there");
    let around = ferrite_compiler::to_wasm(&text, &Default::default()).expect("it is a component");
    with_second_module(&around, &fs::read(&module).expect("it was built"))
}

/// The component in wasmtime's component runtime.
struct Oracle {
    process: Child,
    calls: ChildStdin,
    replies: BufReader<ChildStdout>,
}

impl Oracle {
    fn start(python: &Path, component: &Path) -> Self {
        Self::start_script(python, Path::new("oracle.py"), component)
    }

    fn start_script(python: &Path, script: &Path, component: &Path) -> Self {
        let sdk = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sdk/python");
        let mut process = Command::new(python)
            .arg(folder().join(script))
            .arg(component)
            .env("PYTHONPATH", sdk)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("Python runs");
        Self {
            calls: process.stdin.take().expect("it was piped"),
            replies: BufReader::new(process.stdout.take().expect("it was piped")),
            process,
        }
    }

    fn reply(&mut self, call: &Call) -> Reply {
        let hex = |all: &[Vec<u8>]| -> Vec<String> { all.iter().map(|it| encode(it)).collect() };
        let line = json!({"keys": hex(&call.keys), "args": hex(&call.args)});
        writeln!(self.calls, "{line}").expect("the oracle reads");
        let mut line = String::new();
        self.replies
            .read_line(&mut line)
            .expect("the oracle writes");
        let answer: Value = serde_json::from_str(&line).expect("the oracle answers");
        if let Some(text) = answer["error"].as_str() {
            return Reply::Error(text.to_owned());
        }
        let items = answer["items"].as_array().expect("a list of items");
        let mut items = items.iter();
        let reply = value(&mut items);
        assert!(items.next().is_none(), "a reply is one value");
        reply
    }
}

impl Drop for Oracle {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn encode(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn decode(hex: &str) -> Vec<u8> {
    let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex");
    (0..hex.len()).step_by(2).map(byte).collect()
}

/// Reads a value of a list of items, as a client sees it.
fn value<'a>(items: &mut impl Iterator<Item = &'a Value>) -> Reply {
    let item = items.next().expect("the list is whole");
    let payload = &item[1];
    let text = || payload.as_str().expect("a text").to_owned();
    let count = || payload.as_u64().expect("a count");
    match item[0].as_str().expect("a case") {
        "null" => Reply::Null,
        "boolean" => Reply::Bool(payload.as_bool().expect("a truth")),
        "integer" => Reply::Int(payload.as_i64().expect("an integer")),
        "double" => Reply::Double(payload.as_f64().expect("a number")),
        "bulk" => Reply::Bulk(decode(&text())),
        "simple" => Reply::Simple(text()),
        "error" => Reply::Error(text()),
        "array" => Reply::Array((0..count()).map(|_| value(items)).collect()),
        "mapping" => Reply::Map((0..count()).map(|_| (value(items), value(items))).collect()),
        other => panic!("{other} is no case of an item"),
    }
}

#[test]
fn replies_are_those_of_a_component_runtime() {
    let Some(python) = python() else { return };
    let scratch = tempfile::tempdir().expect("there is room for a folder");
    let component = component(&python, "probe", scratch.path());
    let file = scratch.path().join("component.wasm");
    fs::write(&file, &component).expect("it can be written");
    for isolation in ["rewind", "fresh", "reuse"] {
        for round in 0..ROUNDS / 3 {
            let mut oracle = Oracle::start(&python, &file);
            let server = Server::start();
            let mut client = server.client();
            client.hello3();
            let loaded = client.call(&[
                &b"WASM.LOAD"[..],
                b"probe",
                &component,
                b"PERMISSIONS",
                br#"{"allow_write": true}"#,
                b"ISOLATION",
                isolation.as_bytes(),
            ]);
            assert!(matches!(loaded, Reply::Bulk(_)), "{loaded:?}");
            let mut generator = Generator::new(round);
            for number in 0..CALLS {
                let call = generator.call();
                let mut words: Vec<&[u8]> = vec![b"WASM.CALL", b"probe", b"KEYS"];
                words.extend(call.keys.iter().map(Vec::as_slice));
                words.push(b"ARGS");
                words.extend(call.args.iter().map(Vec::as_slice));
                assert_eq!(
                    client.call(&words),
                    oracle.reply(&call),
                    "{isolation}, round {round}, call {number}: {call:?}"
                );
            }
            // The component's output went into the log.
            assert!(server.log().contains("to the log"), "{}", server.log());
        }
    }
}
