//! Programs in JavaScript become modules, or are refused with a position.

use ferrite_cache::{JavaScript, Profile};
use ferrite_compiler::{CompileError, Compiler, SourceLimits, to_wasm, validate};

/// Makes a module of a program called `app.js`.
fn module(source: impl AsRef<[u8]>) -> Result<Vec<u8>, CompileError> {
    let program = JavaScript {
        name: "app.js",
        positions: &[],
        source: source.as_ref(),
    };
    let encoded = program.encode();
    let wasm = to_wasm(&encoded, &SourceLimits::default())?;
    Ok(wasm.into_owned())
}

/// The code and the first line of the error of a program.
fn refused(source: impl AsRef<[u8]>) -> (&'static str, String) {
    let error = module(source).expect_err("the program is wrong");
    let text = error.to_string();
    (
        error.code(),
        text.lines().next().unwrap_or_default().to_owned(),
    )
}

#[test]
fn the_exported_functions_are_the_entries() {
    let wasm = module(
        "export default function () {}
         export const answer = () => 42, constant = 7;
         export async function later() {}
         const inner = () => 1; export { inner as 'quoted name' };",
    )
    .expect("it is right");
    let info = validate(&wasm, &SourceLimits::default()).expect("it is a module");
    let mut names: Vec<_> = info
        .entries
        .iter()
        .map(|entry| entry.name.as_str())
        .collect();
    names.sort_unstable();
    assert_eq!(names, ["answer", "later", "quoted name", "run"]);
    assert!(!info.start && !info.initialize, "the top level has run");
}

#[test]
fn the_same_program_gives_the_same_module() {
    let source = "export const now = Date.now(), chance = Math.random(); export const run = () => [now, chance];";
    let once = module(source).expect("it is right");
    assert_eq!(once, module(source).expect("it is right"));
    assert_ne!(
        once,
        module(format!("{source} "))
            .expect("it is right")
            .split_off(1)
    );
}

#[test]
fn a_program_is_compiled_and_can_be_rewound() {
    let compiler = Compiler::new(&Profile::native(), SourceLimits::default()).expect("a compiler");
    let program = JavaScript {
        name: "app.js",
        positions: &[],
        source: b"export function run() {}",
    };
    let compiled = compiler.compile(&program.encode()).expect("it is right");
    assert!(
        matches!(
            compiled.manifest.module.rewind,
            ferrite_cache::Rewind::Allowed(_)
        ),
        "{:?}",
        compiled.manifest.module.rewind
    );
}

#[test]
fn mistakes_are_named_with_their_position() {
    for (source, expected) in [
        (
            "export function run( {",
            "SyntaxError: invalid property name (at app.js:1:23)",
        ),
        (
            "\n  throw new RangeError('early')",
            "RangeError: early (at <anonymous> app.js:2:13)",
        ),
        (
            "null.x; export function run() {}",
            "TypeError: cannot read property 'x' of null (at <anonymous> app.js:1:1)",
        ),
        (
            "import 'node:fs'; export function run() {}",
            "ReferenceError: there is no module 'node:fs': a program is one file",
        ),
        (
            "import { gone } from 'ferrite-wasm'; export const run = gone;",
            "SyntaxError: Could not find export 'gone' in module 'ferrite-wasm'",
        ),
        (
            "export const answer = 42;",
            "Error: the program exports no function",
        ),
        (
            "export function memory() {}",
            "Error: the export 'memory' cannot be an entry",
        ),
        (
            "export function run() {} export default () => 1",
            "Error: the program exports 'run' and a default",
        ),
        (
            "import { get } from 'ferrite-wasm'; get('k'); export function run() {}",
            "Error: get was called outside of a function call",
        ),
        (
            "await new Promise(() => {}); export function run() {}",
            "Error: the top level of the program waits for a promise",
        ),
        (
            "const f = () => f(); f(); export { f }",
            "RangeError: Maximum call stack size exceeded (at f app.js:1:",
        ),
    ] {
        let (code, text) = refused(source);
        assert_eq!(code, "INVALID", "{source}: {text}");
        assert!(text.starts_with(expected), "{source}: {text}");
    }
}

#[test]
fn what_is_not_text_is_refused_with_its_offset() {
    let error = module(b"export const a = '\xff'").expect_err("it is not UTF-8");
    assert_eq!(error.offset(), Some(18));
    assert_eq!(
        error.to_string(),
        "app.js: the program is not UTF-8: byte 18 does not belong to a character"
    );
    // Zero bytes are no end of the program.
    let (_, text) = refused(b"export function run() {}\0throw 1");
    assert!(text.starts_with("SyntaxError"), "{text}");
    let (code, text) = refused(vec![b' '; (8 << 20) + 1]);
    assert_eq!(
        (code, text.as_str()),
        (
            "LIMIT",
            "8388609 bytes of JavaScript, where at most 8388608 are allowed"
        )
    );
}

#[test]
fn a_top_level_that_does_not_end_or_takes_all_memory_is_refused() {
    let (code, text) = refused("for (;;);");
    assert_eq!(code, "INVALID");
    assert!(
        text.starts_with("app.js: its top level runs for more than "),
        "{text}"
    );
    for source in [
        "const all = []; for (;;) all.push(new Uint8Array(1 << 20).fill(1));",
        "let text = 'x'; for (;;) text += text + text.at(-1);",
    ] {
        let (code, text) = refused(source);
        assert_eq!(code, "INVALID");
        assert!(
            text.contains("bytes of memory")
                || text.contains("out of memory")
                || text.contains("too long"),
            "{text}"
        );
    }
}

#[test]
fn damaged_programs_are_refused() {
    let whole = JavaScript {
        name: "app.js",
        positions: &[],
        source: b"export function run() {}",
    }
    .encode();
    for len in 8..whole.len() - 24 {
        let error = to_wasm(&whole[..len], &SourceLimits::default()).expect_err("it is cut");
        assert!(error.to_string().contains("truncated"), "{len}: {error}");
    }
    // A table of positions that is garbage never breaks more than the program's own errors.
    for positions in [
        &b"\xff\xff\xff\xff"[..],
        b"\x01\0\0\0",
        b"\0\0\0\0\xff\xff\xff\xff",
    ] {
        let program = JavaScript {
            name: "app.js",
            positions,
            source: b"throw new Error('x')",
        };
        let encoded = program.encode();
        assert!(to_wasm(&encoded, &SourceLimits::default()).is_err());
    }
}
