//! The rewriting pass: what it decides, and that the guest cannot tell the difference.

use ferrite_cache::{Rewind, RewindPlan};
use ferrite_compiler::rewrite::rewrite;
use wasmparser::{Operator, Parser, Payload, Validator};
use wasmtime::{Engine, ExternType, Instance, Module, Store, Val};

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
    assert_eq!(
        (plan.globals, plan.headroom_pages, plan.grows),
        (0, 0, false)
    );
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

#[test]
fn headroom_ends_at_the_declared_maximum() {
    let grower = "(func (export \"run\") i32.const 1 memory.grow drop)";
    for (memory, headroom) in [
        ("(memory 1)", 64),
        ("(memory 1 10)", 9),
        ("(memory 3 3)", 0),
        ("(memory 65500 65536)", 36),
        ("(memory 0)", 64),
    ] {
        let (_, plan) = allowed(&format!("(module {memory} {grower})"));
        assert_eq!(plan.headroom_pages, headroom, "{memory}");
        assert!(plan.grows);
    }
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
    let grower = "(func (export \"run\") i32.const 1 memory.grow drop)";
    let (bytes, plan) = allowed(&format!(
        "(module (memory 1) (data (i32.const 65536) \"x\") {grower})"
    ));
    assert_eq!(plan.headroom_pages, 0);
    let engine = Engine::default();
    let module = Module::new(&engine, bytes).expect("it compiles");
    let mut store = Store::new(&engine, ());
    assert!(Instance::new(&mut store, &module, &[]).is_err());
}

#[test]
fn the_host_sees_what_a_refused_growth_asked_for() {
    let (bytes, _) = allowed(
        r#"(module (memory (export "memory") 2)
            (func (export "grow") (param i32) (result i32) local.get 0 memory.grow))"#,
    );
    let engine = Engine::default();
    let module = Module::new(&engine, bytes).expect("it compiles");
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[]).expect("it instantiates");
    let limit = instance
        .get_global(&mut store, "__ferrite_pages_max")
        .expect("the limit is exported");
    let refused = instance
        .get_global(&mut store, "__ferrite_pages_refused")
        .expect("the refusal is exported");
    limit.set(&mut store, Val::I32(5)).expect("it is mutable");
    let grow = instance
        .get_typed_func::<i32, i32>(&mut store, "grow")
        .expect("the entry is there");
    for (delta, expected, asked) in [(3, 2, 0), (1, -1, 6), (-1, -1, -1), (0, 5, -1)] {
        assert_eq!(grow.call(&mut store, delta).expect("no trap"), expected);
        assert_eq!(refused.get(&mut store).i32(), Some(asked));
    }
}

/// Every operator of the code, with its offset.
fn operators(bytes: &[u8]) -> Vec<(u64, String)> {
    let mut all = Vec::new();
    for payload in Parser::new(0).parse_all(bytes) {
        if let Payload::CodeSectionEntry(body) = payload.expect("the module is valid") {
            let mut reader = body.get_operators_reader().expect("a body has operators");
            while !reader.eof() {
                let (operator, offset) = reader.read_with_offset().expect("they are valid");
                let name = match operator {
                    Operator::MemoryGrow { .. } => "memory.grow".to_owned(),
                    Operator::MemorySize { .. } => "memory.size".to_owned(),
                    other => format!("{other:?}"),
                };
                all.push((offset as u64, name));
            }
        }
    }
    all
}

#[test]
fn every_instruction_is_found_again_in_the_source() {
    // Enough functions and globals that their indices are longer than before.
    let many: String = (0..300)
        .map(|n| format!("(func (result i32) i32.const {n} memory.grow memory.size i32.add)"))
        .collect();
    let globals: String = (0..200)
        .map(|n| format!("(global (mut i32) (i32.const {n}))"))
        .collect();
    let text = format!(
        "(module (memory 1) {globals} (func (export \"run\") i32.const 1 memory.grow drop nop) {many})"
    );
    let source = wasm(&text);
    let (bytes, plan) = allowed(&text);
    let before = operators(&source);
    let after = operators(&bytes);
    assert!(plan.offsets.len() > 300, "{}", plan.offsets.len());
    for ((source_offset, name), (offset, other)) in before.iter().zip(&after) {
        assert_eq!(plan.source_offset(*offset), *source_offset, "{name}");
        match name.as_str() {
            "memory.grow" => assert!(other.starts_with("Call"), "{other}"),
            "memory.size" => assert!(other.starts_with("GlobalGet"), "{other}"),
            name => assert_eq!(name, other),
        }
    }
    assert!(after.len() > before.len(), "the added function follows");
}

/// A small generator of numbers, the same on every run (Marsaglia's xorshift, 64 bits).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

#[test]
fn growth_looks_the_same_from_inside() {
    let engine = Engine::default();
    let mut numbers = Numbers(0x9E37_79B9_7F4A_7C15);
    for _ in 0..60 {
        let initial = numbers.below(4);
        let maximum = initial + numbers.below(90);
        let text = format!(
            r#"(module (memory (export "memory") {initial} {maximum})
                (func (export "grow") (param i32) (result i32) local.get 0 memory.grow)
                (func (export "size") (result i32) memory.size)
                (func (export "last") (result i32)
                    memory.size i32.const 65536 i32.mul i32.const 4 i32.sub
                    memory.size i32.store8 offset=3
                    memory.size i32.const 65536 i32.mul i32.const 4 i32.sub i32.load))"#
        );
        let (bytes, _) = allowed(&text);
        let mut stores = [Store::new(&engine, ()), Store::new(&engine, ())];
        let mut instances = Vec::new();
        for (store, bytes) in stores.iter_mut().zip([wasm(&text), bytes]) {
            let module = Module::new(&engine, bytes).expect("it compiles");
            instances.push(Instance::new(store, &module, &[]).expect("it instantiates"));
        }
        for _ in 0..30 {
            let delta = match numbers.below(10) {
                0 => -1,
                1 => i32::MIN,
                2 => 65_536,
                n => n as i32,
            };
            let mut seen = Vec::new();
            for (store, instance) in stores.iter_mut().zip(&instances) {
                let call = |store: &mut Store<()>, name: &str, argument: &[Val]| {
                    let mut result = [Val::I32(0)];
                    let entry = instance.get_func(&mut *store, name).expect("an entry");
                    entry
                        .call(store, argument, &mut result)
                        .map(|()| result[0].i32())
                        .map_err(|error| error.root_cause().to_string())
                };
                let grown = call(store, "grow", &[Val::I32(delta)]);
                let size = call(store, "size", &[]);
                let last = if size == Ok(Some(0)) {
                    Ok(None)
                } else {
                    call(store, "last", &[])
                };
                seen.push((grown, size, last));
            }
            assert_eq!(seen[0], seen[1], "{initial} {maximum} {delta}");
        }
    }
}
