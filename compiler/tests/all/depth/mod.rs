//! The counting pass: that it counts every way through a function, and changes nothing else.

mod generated;

use ferrite_cache::{DEPTH_REMAINING_EXPORT, DEPTH_START_EXPORT, DepthPlan};
use ferrite_compiler::depth::{DepthError, Instrumented, instrument};
use ferrite_compiler::rewrite::rewrite;
use ferrite_compiler::{SourceLimits, validate};
use wasmparser::{Parser, Payload, Validator};
use wasmtime::{Engine, Instance, Module, Store, Trap, Val, WasmBacktrace};

use crate::VALID;

fn wasm(text: &str) -> Vec<u8> {
    wat::parse_str(text).expect("the test's text is a module")
}

/// The module as it is compiled without the pass, and with it.
fn both(text: &str) -> (Vec<u8>, Vec<u8>, DepthPlan) {
    let source = wasm(text);
    let info = validate(&source, &SourceLimits::default()).expect(VALID);
    let plain = rewrite(&source).expect(VALID).wasm.into_owned();
    let Instrumented { wasm, plan } = instrument(&plain, &info).expect("it can be counted");
    Validator::new()
        .validate_all(&wasm)
        .unwrap_or_else(|error| panic!("{error}\n{text}"));
    (plain, wasm, plan)
}

/// An instance of its own for each call.
struct Running {
    store: Store<()>,
    instance: Instance,
}

impl Running {
    fn new(wasm: &[u8]) -> Self {
        let engine = Engine::default();
        let module = Module::new(&engine, wasm).expect("it compiles");
        let mut store = Store::new(&engine, ());
        let instance = Instance::new(&mut store, &module, &[]).expect("it instantiates");
        Self { store, instance }
    }

    fn allow(mut self, depth: i32) -> Self {
        let left = self.left();
        left.set(&mut self.store, Val::I32(depth))
            .expect("it is mutable");
        self
    }

    fn left(&mut self) -> wasmtime::Global {
        self.instance
            .get_global(&mut self.store, DEPTH_REMAINING_EXPORT)
            .expect("the pass exports it")
    }

    fn left_value(&mut self) -> i32 {
        let left = self.left();
        left.get(&mut self.store).unwrap_i32()
    }

    /// The results as text, or the trap.
    fn call(&mut self, name: &str, args: &[i32]) -> Result<Vec<String>, wasmtime::Error> {
        let func = self
            .instance
            .get_func(&mut self.store, name)
            .expect("the entry is there");
        let args: Vec<Val> = args.iter().map(|&arg| Val::I32(arg)).collect();
        let mut results = vec![Val::I32(0); func.ty(&self.store).results().len()];
        func.call(&mut self.store, &args, &mut results)?;
        Ok(results.iter().map(|value| format!("{value:?}")).collect())
    }
}

/// Calls an entry without the pass and with it: the results are the same where calls may nest
/// `depth` deep, and one less is a trap that is told by the global.
fn needs(text: &str, entry: &str, args: &[i32], depth: i32) {
    let (plain, counting, _) = both(text);
    let expected = Running::new(&plain).call(entry, args).expect("no trap");
    for allowed in [depth, depth + 1, i32::MAX, -2] {
        let mut running = Running::new(&counting).allow(allowed);
        for _ in 0..3 {
            let results = running.call(entry, args).expect("deep enough");
            assert_eq!(results, expected, "{entry} {args:?}");
            assert_eq!(running.left_value(), allowed, "{entry} gives back all");
        }
    }
    for allowed in 0..depth {
        let mut running = Running::new(&counting).allow(allowed);
        let error = running.call(entry, args).expect_err("too deep");
        assert_eq!(
            error.downcast_ref::<Trap>(),
            Some(&Trap::UnreachableCodeReached)
        );
        assert_eq!(running.left_value(), -1, "{entry} {args:?} in {allowed}");
    }
}

const SHAPES: &str = r#"(module
    (type $number (func (result i32)))
    (table 4 funcref) (elem (i32.const 0) $leaf $one $two $three)
    (memory 1)
    (func $leaf (result i32) i32.const 7)
    (func $one (export "one") (result i32) call $leaf)
    (func $two (export "two") (result i32) (i32.add (call $one) (call $leaf)))
    (func $three (export "three") (result i32) call $two)

    ;; Every branch to the function's own label, with values below on the stack.
    (func $branches (export "branches") (param i32) (result i32)
        i32.const 1
        i32.const 2
        (block $inner
            (block $other
                (br_table $inner $other (local.get 0)))
            (br 1 (call $one)))
        (loop $again
            (local.set 0 (i32.add (local.get 0) (i32.const 5)))
            (br_if $again (i32.lt_u (local.get 0) (i32.const 20)))
            (br_if 1 (call $one) (i32.and (local.get 0) (i32.const 1)))
            drop)
        (if (result i32) (i32.and (local.get 0) (i32.const 2))
            (then (br 1 (call $two)))
            (else (return (call $three))))
        br 0)

    (func (export "table") (param i32) (result i32)
        (block $inner (result i32)
            (call $one)
            (br_table $inner 1 (local.get 0)))
        drop
        (call $two))

    (func (export "returns") (param i32) (result i32)
        (block (loop
            (if (i32.eqz (local.get 0)) (then i32.const 3 (return (call $one))))
            (if (i32.eq (local.get 0) (i32.const 1)) (then i32.const 3 i32.const 4 return))
            (local.set 0 (i32.sub (local.get 0) (i32.const 1)))
            (br_if 0 (i32.gt_u (local.get 0) (i32.const 3)))
            (br 1)))
        (return (call $two))
        unreachable)

    (func $pair (export "pair") (param i32) (result i32 i64)
        (if (local.get 0) (then (return (call $one) (i64.const 2))))
        (call $one) (i64.const 3) (br 0))
    (func (export "pairs") (param i32) (result i32 i64)
        i32.const 9
        (call $pair (local.get 0))
        return)
    (func (export "nothing") (param i32)
        (br_if 0 (local.get 0))
        (drop (call $one)))

    (func $down (export "down") (param i32) (result i32)
        (if (result i32) (local.get 0)
            (then (i32.add (i32.const 1) (call $down (i32.sub (local.get 0) (i32.const 1)))))
            (else (i32.const 0))))
    (func $even (export "even") (param i32) (result i32)
        (if (i32.eqz (local.get 0)) (then (return (i32.const 1))))
        (call $odd (i32.sub (local.get 0) (i32.const 1))))
    (func $odd (param i32) (result i32)
        (if (i32.eqz (local.get 0)) (then (return (i32.const 0))))
        (call $even (i32.sub (local.get 0) (i32.const 1))))
    (func (export "indirect") (param i32) (result i32)
        (call_indirect (type $number) (local.get 0)))
    (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
    (func (export "twice") (result i32)
        (i32.add (call $down (i32.const 3)) (call $down (i32.const 4))))
)"#;

#[test]
fn every_way_out_of_a_function_gives_back_what_it_took() {
    for (entry, args, depth) in [
        ("one", &[][..], 1),
        ("two", &[], 2),
        ("three", &[], 3),
        ("branches", &[0], 4),
        ("branches", &[1], 2),
        ("table", &[0], 3),
        ("table", &[5], 2),
        ("returns", &[0], 2),
        ("returns", &[1], 1),
        ("returns", &[3], 3),
        ("returns", &[9], 3),
        ("pair", &[0], 2),
        ("pair", &[1], 2),
        ("pairs", &[0], 3),
        ("pairs", &[1], 3),
        ("nothing", &[0], 2),
        ("nothing", &[1], 1),
        ("down", &[0], 1),
        ("down", &[9], 10),
        ("even", &[8], 9),
        ("even", &[7], 8),
        ("indirect", &[0], 1),
        ("indirect", &[1], 2),
        ("indirect", &[3], 4),
        ("twice", &[], 6),
        // Functions of the author's that call none, and those of other passes, are not counted.
        ("grow", &[0], 0),
    ] {
        needs(SHAPES, entry, args, depth);
    }
}

#[test]
fn a_function_that_calls_none_stays_as_it_is() {
    let text = r#"(module
        (import "ferrite" "time_millis" (func $now (result i64)))
        (func (export "run") (result i64) call $now)
        (func (export "other") (param i32) (result i32) (return (local.get 0))))"#;
    let (plain, counting, plan) = both(text);
    let bodies = |wasm: &[u8]| -> Vec<Vec<u8>> {
        Parser::new(0)
            .parse_all(wasm)
            .filter_map(|payload| match payload.expect(VALID) {
                Payload::CodeSectionEntry(body) => Some(wasm[body.range()].to_vec()),
                _ => None,
            })
            .collect()
    };
    assert_eq!(bodies(&plain), bodies(&counting));
    assert!(!plan.start);
}

#[test]
fn a_start_function_waits_for_the_limit() {
    // Tables that change keep the other pass from taking the start function away.
    let text = r#"(module (table 1 funcref)
        (global $seen (mut i32) (i32.const 0))
        (func $write (global.set $seen (i32.const 5)))
        (func $start (call $write) (table.set (i32.const 0) (ref.null func)))
        (func (export "run") (result i32) global.get $seen) (start $start))"#;
    let (_, counting, plan) = both(text);
    assert!(plan.start);
    let mut running = Running::new(&counting).allow(1);
    assert_eq!(running.call("run", &[]).expect("no trap"), ["I32(0)"]);
    running.call(DEPTH_START_EXPORT, &[]).expect("deep enough");
    assert_eq!(running.call("run", &[]).expect("no trap"), ["I32(5)"]);
    assert!(
        Running::new(&counting)
            .allow(0)
            .call(DEPTH_START_EXPORT, &[])
            .is_err()
    );
    let simple = text.replace("(table.set (i32.const 0) (ref.null func))", "");
    assert!(!both(&simple).2.start, "rewinding has taken it");
}

/// Returns the offset in the module of a trap's innermost frame.
fn trap_offset(wasm: &[u8], entry: &str, arg: i32, counts: bool) -> u64 {
    let mut running = Running::new(wasm);
    if counts {
        running = running.allow(1000);
    }
    let error = running.call(entry, &[arg]).expect_err("it traps");
    let trace = error.downcast_ref::<WasmBacktrace>().expect("frames");
    let offset = trace
        .frames()
        .first()
        .and_then(wasmtime::FrameInfo::module_offset);
    offset.expect("offsets are kept") as u64
}

#[test]
fn a_trap_leads_back_to_its_place() {
    // Enough functions and globals that counts and sizes take more bytes than before.
    let globals: String = (0..200)
        .map(|n| format!("(global (mut i32) (i32.const {n}))"))
        .collect();
    let many: String = (0..200)
        .map(|n| {
            format!(
                r#"(func $f{n} (export "f{n}") (param i32) (result i32)
                    (if (i32.eq (local.get 0) (i32.const 1)) (then (return (call $ok))))
                    (if (i32.eq (local.get 0) (i32.const 2)) (then (return (i32.const {n}))))
                    (i32.div_u (call $ok) (i32.const 0)))"#
            )
        })
        .collect();
    let text = format!(
        r#"(module {globals} (memory 1) (func $ok (result i32) i32.const 1)
            (func (export "leaf") (param i32) (result i32) unreachable)
            {many}
            (func (export "grow") (param i32) (result i32)
                (drop (memory.grow (i32.const 1))) (drop (call $ok))
                (i32.load (i32.const -1))))"#
    );
    let (plain, counting, plan) = both(&text);
    for entry in ["leaf", "f0", "f1", "f100", "f199", "grow"] {
        let expected = trap_offset(&plain, entry, 0, false);
        let found = trap_offset(&counting, entry, 0, true);
        assert_ne!(found, expected, "{entry}");
        assert_eq!(plan.moves.original_offset(found), expected, "{entry}");
    }
    assert!(plan.moves.len() < 200 * 4 * 3, "{}", plan.moves.len());
}

#[test]
fn names_and_sections_of_others_stay() {
    let mut source = wasm(
        r#"(module $mine (func $inner (result i32) i32.const 1)
            (func $outer (export "run") (result i32) call $inner))"#,
    );
    wasm_encoder::Section::append_to(
        &wasm_encoder::CustomSection {
            name: "note".into(),
            data: b"kept".as_slice().into(),
        },
        &mut source,
    );
    let info = validate(&source, &SourceLimits::default()).expect(VALID);
    let counted = instrument(&source, &info).expect("it can be counted");
    let custom = |wasm: &[u8]| -> Vec<(String, Vec<u8>)> {
        Parser::new(0)
            .parse_all(wasm)
            .filter_map(|payload| match payload.expect(VALID) {
                Payload::CustomSection(section) => {
                    Some((section.name().to_owned(), section.data().to_vec()))
                }
                _ => None,
            })
            .collect()
    };
    assert_eq!(custom(&source).len(), 2);
    assert_eq!(custom(&source), custom(&counted.wasm));
}

#[test]
fn names_that_the_pass_needs_are_refused() {
    for name in [DEPTH_REMAINING_EXPORT, DEPTH_START_EXPORT] {
        let source = wasm(&format!(
            r#"(module (func (export "{name}")) (func (export "run")))"#
        ));
        let info = validate(&source, &SourceLimits::default()).expect(VALID);
        let error = instrument(&source, &info).expect_err("reserved");
        assert!(matches!(error, DepthError::Reserved { .. }), "{error}");
        assert!(error.to_string().contains(name), "{error}");
    }
}
