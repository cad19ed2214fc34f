//! The rewriting pass: what it decides, and that the guest cannot tell the difference.

use ferrite_cache::{Rewind, RewindPlan};
use ferrite_compiler::rewrite::rewrite;
use wasmparser::{Parser, Payload, Validator};
use wasmtime::{Engine, ExternType, Instance, Module, Store, Trap};

fn wasm(text: &str) -> Vec<u8> {
    wat::parse_str(text).expect("the test's text is a module")
}

fn allowed(text: &str) -> (Vec<u8>, RewindPlan) {
    let source = wasm(text);
    let rewritten = rewrite(&source).expect("the module is valid");
    Validator::new()
        .validate_all(&rewritten.wasm)
        .expect("the rewritten module is valid");
    match rewritten.rewind {
        Rewind::Allowed(plan) => (rewritten.wasm.into_owned(), plan),
        Rewind::Refused { reason } => panic!("refused: {reason}"),
    }
}

fn reason(text: &str) -> String {
    let source = wasm(text);
    let rewritten = rewrite(&source).expect("the module is valid");
    assert_eq!(rewritten.wasm, source, "a refused module stays as it is");
    match rewritten.rewind {
        Rewind::Refused { reason } => reason,
        Rewind::Allowed(_) => panic!("allowed"),
    }
}

#[test]
fn a_module_without_state_stays_byte_for_byte() {
    let text = r#"(module (global i32 (i32.const 3))
        (func (export "run") (param i32) (result i32) local.get 0))"#;
    let (bytes, plan) = allowed(text);
    assert_eq!(bytes, wasm(text));
    assert_eq!(plan.globals, 0);
}

#[test]
fn what_cannot_be_undone_is_refused_with_its_name() {
    let cases = [
        (
            "(table 1 funcref) (func i32.const 0 ref.null func table.set 0)",
            "table.set",
        ),
        (
            "(table 1 funcref) (func ref.null func i32.const 1 table.grow 0 drop)",
            "table.grow",
        ),
        (
            "(table 1 funcref) (func i32.const 0 ref.null func i32.const 0 table.fill 0)",
            "table.fill",
        ),
        (
            "(table 1 funcref) (func i32.const 0 i32.const 0 i32.const 0 table.copy 0 0)",
            "table.copy",
        ),
        (
            "(table 1 funcref) (elem $e func) (func i32.const 0 i32.const 0 i32.const 0 table.init $e)",
            "table.init",
        ),
        ("(elem $e func) (func elem.drop $e)", "elem.drop"),
        (
            "(memory 1) (data $d \"x\") (func data.drop $d)",
            "data.drop",
        ),
        (
            "(global (mut funcref) (ref.null func))",
            "mutable reference",
        ),
        ("(memory 1) (memory 1)", "several memories"),
        ("(memory i64 1)", "64-bit"),
        ("(memory 1 1 shared)", "shared"),
        ("(import \"env\" \"memory\" (memory 1))", "\"memory\""),
        ("(import \"env\" \"g\" (global (mut i32)))", "no function"),
        ("(func (export \"__ferrite_pages\"))", "reserved"),
    ];
    for (body, word) in cases {
        let said = reason(&format!("(module {body})"));
        assert!(said.contains(word), "{body}: {said}");
    }
}

#[test]
fn mutable_globals_are_exported_and_others_are_not() {
    let (bytes, plan) = allowed(
        r#"(module (global i32 (i32.const 1)) (global (mut i64) (i64.const 2))
            (global (mut f32) (f32.const 3)) (func (export "run")))"#,
    );
    assert_eq!(plan.globals, 2);
    let engine = Engine::default();
    let module = Module::new(&engine, bytes).expect("it compiles");
    let names: Vec<&str> = module
        .exports()
        .filter(|export| matches!(export.ty(), ExternType::Global(_)))
        .map(|export| export.name())
        .collect();
    assert_eq!(names, ["__ferrite_global_0", "__ferrite_global_1"]);
}

/// Names of the exports that the pass added.
fn added(bytes: &[u8]) -> Vec<String> {
    let mut names = Vec::new();
    for payload in Parser::new(0).parse_all(bytes) {
        if let Payload::ExportSection(section) = payload.expect("the module is valid") {
            names.extend(section.into_iter().filter_map(|export| {
                let name = export.expect("the export is valid").name;
                name.starts_with("__ferrite_").then(|| name.to_owned())
            }));
        }
    }
    names
}

#[test]
fn a_memory_is_exported_whatever_the_module_does_with_it() {
    for memory in ["(memory 1)", "(memory (export \"other\") 1)"] {
        let (bytes, _) = allowed(&format!("(module {memory} (func (export \"run\")))"));
        assert_eq!(added(&bytes), ["__ferrite_memory"], "{memory}");
    }
}

#[test]
fn a_start_function_is_left_to_the_host() {
    let (bytes, plan) = allowed(
        r#"(module (memory (export "memory") 1)
            (func $start (i32.store (i32.const 0) (i32.const 7)))
            (func (export "run") (result i32) (i32.load (i32.const 0))) (start $start))"#,
    );
    assert!(plan.start);
    assert_eq!(added(&bytes), ["__ferrite_memory", "__ferrite_start"]);
    let engine = Engine::default();
    let module = Module::new(&engine, bytes).expect("it compiles");
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[]).expect("it instantiates");
    let run = instance
        .get_typed_func::<(), i32>(&mut store, "run")
        .expect("the entry is there");
    assert_eq!(run.call(&mut store, ()).expect("no trap"), 0);
    let start = instance
        .get_typed_func::<(), ()>(&mut store, "__ferrite_start")
        .expect("the start function is there");
    start.call(&mut store, ()).expect("no trap");
    assert_eq!(run.call(&mut store, ()).expect("no trap"), 7);
}

#[test]
fn data_reaches_the_memory_and_is_counted() {
    let (bytes, _) = allowed(
        r#"(module (memory (export "memory") 1)
            (data (i32.const 8) "active") (data $passive "passive")
            (func (export "run")
                (memory.init $passive (i32.const 100) (i32.const 0) (i32.const 7))))"#,
    );
    let engine = Engine::default();
    let module = Module::new(&engine, bytes).expect("it compiles");
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[]).expect("it instantiates");
    let run = instance
        .get_typed_func::<(), ()>(&mut store, "run")
        .expect("the entry is there");
    run.call(&mut store, ()).expect("no trap");
    let memory = instance.get_memory(&mut store, "memory").expect("exported");
    assert_eq!(&memory.data(&store)[8..14], b"active");
    assert_eq!(&memory.data(&store)[100..107], b"passive");
}

#[test]
fn a_segment_that_must_fail_still_fails() {
    for segments in [
        "(data (i32.const 65536) \"x\")",
        "(data (i32.const 0) \"a\") (data (i32.const 65535) \"xy\")",
        "(data (i32.const 65537) \"\") (data (i32.const 0) \"a\")",
        "(data (offset (i32.sub (i32.const 0) (i32.const 1))) \"x\")",
    ] {
        let (bytes, _) = allowed(&format!(
            "(module (memory 1) {segments} (func (export \"run\")))"
        ));
        let engine = Engine::default();
        let module = Module::new(&engine, bytes).expect("it compiles");
        let error = Instance::new(Store::new(&engine, ()), &module, &[]);
        let error = error.expect_err("it does not fit");
        assert_eq!(
            error.downcast_ref(),
            Some(&Trap::MemoryOutOfBounds),
            "{segments}"
        );
    }
}

/// Number of data segments, and bytes in them.
fn segments(bytes: &[u8]) -> (usize, usize) {
    let mut found = (0, 0);
    for payload in Parser::new(0).parse_all(bytes) {
        if let Payload::DataSection(section) = payload.expect("the module is valid") {
            for data in section {
                found.0 += 1;
                found.1 += data.expect("the segment is valid").data.len();
            }
        }
    }
    found
}

#[test]
fn many_data_segments_become_few() {
    // As many as an engine takes, each on its own line of the memory.
    let many: String = (0..100_000)
        .map(|number| format!("(data (i32.const {}) \"x\\00\\00y\")", number * 32))
        .collect();
    let text = format!("(module (memory (export \"memory\") 50) {many} (func (export \"run\")))");
    let (bytes, _) = allowed(&text);
    assert_eq!(
        segments(&bytes),
        (1, 3_199_972),
        "without the zeros at the ends"
    );
    let engine = Engine::default();
    let module = Module::new(&engine, bytes).expect("it compiles");
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[]).expect("it instantiates");
    let memory = instance.get_memory(&mut store, "memory").expect("exported");
    let (lines, []) = memory.data(&store).as_chunks::<32>() else {
        panic!("a memory is whole pages");
    };
    for (number, line) in lines.iter().enumerate() {
        let expected: &[u8; 4] = if number < 100_000 { b"x\0\0y" } else { &[0; 4] };
        assert_eq!(&line[..4], expected, "{number}");
        assert_eq!(line[4..], [0; 28], "{number}");
    }
}

/// Segments keep their indices where code names them, and are as empty as active ones are then.
#[test]
fn code_that_names_segments_finds_the_same() {
    let (bytes, _) = allowed(
        r#"(module (memory (export "memory") 1)
            (data $a (i32.const 8) "ab") (data $p "passive") (data $b (i32.const 10) "cd")
            (data $q "quiet") (data $c (i32.const 40000) "ef")
            (func (export "init") (param i32 i32)
                (if (i32.eqz (local.get 0)) (then
                    (memory.init $a (i32.const 0) (i32.const 0) (local.get 1))))
                (if (i32.eq (local.get 0) (i32.const 1)) (then
                    (memory.init $p (i32.const 0) (i32.const 0) (local.get 1))))
                (if (i32.eq (local.get 0) (i32.const 2)) (then
                    (memory.init $b (i32.const 0) (i32.const 0) (local.get 1))))
                (if (i32.eq (local.get 0) (i32.const 3)) (then
                    (memory.init $q (i32.const 0) (i32.const 0) (local.get 1))))
                (if (i32.eq (local.get 0) (i32.const 4)) (then
                    (memory.init $c (i32.const 0) (i32.const 0) (local.get 1))))))"#,
    );
    assert_eq!(segments(&bytes).0, 5);
    let engine = Engine::default();
    let module = Module::new(&engine, bytes).expect("it compiles");
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[]).expect("it instantiates");
    let memory = instance.get_memory(&mut store, "memory").expect("exported");
    assert_eq!(&memory.data(&store)[8..12], b"abcd");
    assert_eq!(&memory.data(&store)[40_000..40_002], b"ef");
    let init = instance
        .get_typed_func::<(i32, i32), ()>(&mut store, "init")
        .expect("the entry is there");
    for (segment, length, fits) in [
        (0, 0, true),
        (0, 1, false),
        (1, 7, true),
        (1, 8, false),
        (2, 0, true),
        (2, 1, false),
        (3, 5, true),
        (3, 6, false),
        (4, 0, true),
        (4, 1, false),
    ] {
        let ended = init.call(&mut store, (segment, length));
        assert_eq!(ended.is_ok(), fits, "{length} of segment {segment}");
    }
    assert_eq!(&memory.data(&store)[..7], b"quietve");
}

/// Every operator of the code, with its offset.
fn operators(bytes: &[u8]) -> Vec<(u64, String)> {
    let mut all = Vec::new();
    for payload in Parser::new(0).parse_all(bytes) {
        if let Payload::CodeSectionEntry(body) = payload.expect("the module is valid") {
            let mut reader = body.get_operators_reader().expect("a body has operators");
            while !reader.eof() {
                let (operator, offset) = reader.read_with_offset().expect("they are valid");
                all.push((offset as u64, format!("{operator:?}")));
            }
        }
    }
    all
}

#[test]
fn every_instruction_is_found_again_in_the_source() {
    let many: String = (0..300)
        .map(|n| format!("(func (result i32) i32.const {n} memory.grow memory.size i32.add)"))
        .collect();
    let globals: String = (0..200)
        .map(|n| format!("(global (mut i32) (i32.const {n}))"))
        .collect();
    let data = "(data (i32.const 0) \"a\")".repeat(300);
    let text = format!(
        "(module (memory 1) {globals} {data} (data $p \"b\")
            (func (export \"run\") i32.const 1 memory.grow drop nop
                (memory.init $p (i32.const 1) (i32.const 0) (i32.const 1)))
            {many})"
    );
    let source = wasm(&text);
    let (bytes, plan) = allowed(&text);
    let before = operators(&source);
    let after = operators(&bytes);
    assert_eq!(plan.offsets.len(), 1, "the code moves as a whole");
    assert_eq!(before.len(), after.len());
    for ((source_offset, name), (offset, other)) in before.iter().zip(&after) {
        assert_eq!(plan.source_offset(*offset), *source_offset, "{name}");
        assert_eq!(name, other);
    }
}
