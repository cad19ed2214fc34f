//! Modules made to attack their compiler, in the worker's real sandbox.
//!
//! Each ends as native code or as a refusal that says why, within the worker's memory and time.

use std::borrow::Cow;
use std::io::Write as _;
use std::process::{Command, Stdio};

use ferrite_cache::Profile;
use ferrite_cache::worker_protocol::{
    CompileRequest, CompileResponse, ResponseLimits, SourceKind, read_response, write_request,
};
use wasm_encoder::{
    BlockType, CodeSection, ExportKind, ExportSection, Function, FunctionSection, InstructionSink,
    Module, TypeSection, ValType,
};

use crate::sandbox::probe;

/// The worker's default address space, in bytes.
const ADDRESS_SPACE: u64 = 4 << 30;

/// A module of functions `() -> ()` with these bodies, of which the first is an entry.
fn module(types: u32, bodies: impl IntoIterator<Item = Function>) -> Vec<u8> {
    let mut type_section = TypeSection::new();
    type_section.ty().function([], []);
    for number in 0..types {
        let width = number % 200;
        type_section
            .ty()
            .function((0..width).map(|_| ValType::I64), []);
    }
    let (mut functions, mut code) = (FunctionSection::new(), CodeSection::new());
    for body in bodies {
        functions.function(0);
        code.function(&body);
    }
    let mut exports = ExportSection::new();
    exports.export("run", ExportKind::Func, 0);
    let mut module = Module::new();
    module
        .section(&type_section)
        .section(&functions)
        .section(&exports)
        .section(&code);
    module.finish()
}

fn body(locals: u32, fill: impl FnOnce(&mut InstructionSink<'_>)) -> Function {
    let mut body = Function::new([(locals, ValType::I64)]);
    let mut instructions = body.instructions();
    fill(&mut instructions);
    instructions.end();
    body
}

/// Blocks inside one another, and a table that jumps out of each of them, again and again.
fn jumps(depth: u32, tables: u32) -> Function {
    body(0, |code| {
        for _ in 0..depth {
            code.block(BlockType::Empty);
        }
        for number in 0..tables {
            code.block(BlockType::Empty);
            code.i32_const(number.cast_signed());
            let targets: Vec<u32> = (0..depth).cycle().take(4_000).collect();
            code.br_table(targets, 0);
            code.end();
        }
        for _ in 0..depth {
            code.end();
        }
    })
}

/// Every local is alive from the beginning to the end.
fn alive(locals: u32, rounds: u32) -> Function {
    body(locals, |code| {
        for round in 0..rounds {
            for local in 0..locals {
                code.local_get(local);
                code.local_get((local + round) % locals);
                code.i64_add();
                code.local_set(local);
            }
        }
    })
}

/// One after the other, with branches between them that all meet again.
fn diamonds(count: u32) -> Function {
    body(8, |code| {
        for number in 0..count {
            let (one, other) = (number % 8, (number + 3) % 8);
            code.local_get(one);
            code.i32_wrap_i64();
            code.if_(BlockType::Empty);
            code.local_get(other);
            code.local_set(one);
            code.else_();
            code.local_get(one);
            code.local_set(other);
            code.end();
        }
    })
}

fn nested(depth: u32) -> Function {
    body(1, |code| {
        for _ in 0..depth {
            code.loop_(BlockType::Empty);
        }
        code.i64_const(1);
        code.local_set(0);
        for _ in 0..depth {
            code.local_get(0);
            code.i64_eqz();
            code.br_if(0);
            code.end();
        }
    })
}

/// Compiles a module in a worker with `address_space` bytes. Returns its answer, or how it ended.
fn compile(source: &[u8], address_space: u64) -> Result<CompileResponse, String> {
    compile_within(source, address_space, 60)
}

/// The same, with a limit on processor time in seconds.
fn compile_within(
    source: &[u8],
    address_space: u64,
    seconds: u64,
) -> Result<CompileResponse, String> {
    let mut child = Command::new(probe())
        .arg(address_space.to_string())
        .arg(seconds.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the probe is built with the tests");
    let job = CompileRequest {
        profile: Profile::native(),
        source: Cow::Borrowed(source),
        kind: SourceKind::Source,
        engines: Vec::new(),
    };
    let mut input = child.stdin.take().expect("it was piped");
    // A worker that died takes no more; how it ended tells why.
    let _ = write_request(&mut input, &job).and_then(|()| Ok(input.flush()?));
    drop(input);
    let bounds = ResponseLimits {
        source_bytes_max: 64 << 20,
        artifact_bytes_max: 512 << 20,
    };
    let mut output = child.stdout.take().expect("it was piped");
    let answer = read_response(&mut output, &bounds, &[]);
    let ended = child.wait_with_output().expect("it ends");
    answer.map_err(|error| {
        let said = String::from_utf8_lossy(&ended.stderr);
        format!("{} ({error}): {said}", ended.status)
    })
}

#[test]
fn bombs_end_as_code_or_as_a_refusal_that_names_the_bound() {
    for (what, source, expected) in [
        ("a huge function", module(0, [diamonds(20_000)]), None),
        (
            "a function beyond the bound",
            module(0, [diamonds(400_000)]),
            Some("LIMIT"),
        ),
        ("deep nesting", module(0, [nested(400)]), None),
        (
            "nesting beyond the bound",
            module(0, [nested(100_000)]),
            Some("LIMIT"),
        ),
        ("tables of jumps", module(0, [jumps(200, 40)]), None),
        ("thousands of locals", module(0, [alive(2_000, 3)]), None),
        (
            "locals beyond the bound",
            module(0, [alive(50_000, 1)]),
            Some("LIMIT"),
        ),
        ("many types", module(16_000, [body(0, |_| {})]), None),
        (
            "types beyond the bound",
            module(100_000, [body(0, |_| {})]),
            Some("LIMIT"),
        ),
    ] {
        match (compile(&source, ADDRESS_SPACE), expected) {
            (Ok(CompileResponse::Compiled { .. } | CompileResponse::Engine { .. }), None) => {}
            (Ok(CompileResponse::Refused(refusal)), Some(code)) => {
                assert_eq!(refusal.code, code, "{what}: {}", refusal.message);
                assert!(!refusal.message.is_empty(), "{what}");
            }
            (Ok(CompileResponse::Compiled { .. } | CompileResponse::Engine { .. }), Some(_)) => {
                panic!("{what} was compiled")
            }
            (Ok(CompileResponse::Refused(refusal)), None) => panic!("{what}: {}", refusal.message),
            (Err(how), _) => panic!("{what}: the worker died: {how}"),
        }
    }
}

/// As deep as the bound allows, with a jump in every loop, takes Cranelift very long: beyond the
/// processor time that it has, the worker is ended.
#[test]
fn a_bomb_that_wants_more_time_than_there_is_ends_the_worker_alone() {
    match compile_within(&module(0, [nested(4_000)]), ADDRESS_SPACE, 1) {
        Err(how) => assert!(how.contains("SIGKILL") || how.contains("SIGXCPU"), "{how}"),
        Ok(CompileResponse::Refused(refusal)) => assert!(!refusal.message.is_empty()),
        // A machine that is fast enough.
        Ok(CompileResponse::Compiled { .. } | CompileResponse::Engine { .. }) => {}
    }
}

/// A worker that runs out of memory dies, without any other effect.
#[test]
fn a_bomb_that_wants_more_memory_than_there_is_ends_the_worker_alone() {
    let source = module(0, [diamonds(60_000), diamonds(60_000)]);
    let ended = compile(&source, 96 << 20);
    match ended {
        Err(how) => assert!(how.contains("signal") || how.contains("exit"), "{how}"),
        Ok(CompileResponse::Refused(refusal)) => assert!(!refusal.message.is_empty()),
        Ok(CompileResponse::Compiled { .. } | CompileResponse::Engine { .. }) => {
            panic!("it fits into less memory than it needs")
        }
    }
}
