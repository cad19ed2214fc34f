//! Pre-initialisation: the other module behaves as the source does after its start, or there is none.

use ferrite_cache::{Digest, Profile};
use ferrite_compiler::preinit::preinit;
use ferrite_compiler::{Compiled, Compiler, Preinit, PreinitChoice, SourceLimits};
use wasmtime::{Engine, Instance, Module, Store, Val};

fn wasm(text: &str) -> Vec<u8> {
    wat::parse_str(text).expect("the test's text is a module")
}

/// The other module of a start that can be run now.
fn preinitialised(text: &str) -> Vec<u8> {
    let other = preinit(&wasm(text), PreinitChoice::Always);
    other.wasm.unwrap_or_else(|| panic!("{:?}", other.preinit))
}

fn compile(text: &str, choice: PreinitChoice) -> Compiled {
    Compiler::new(&Profile::native(), SourceLimits::default())
        .expect("this machine")
        .with_preinit(choice)
        .compile(text.as_bytes())
        .unwrap_or_else(|error| panic!("{error}"))
}

fn refusal(text: &str, choice: PreinitChoice) -> String {
    match compile(text, choice).preinit {
        Preinit::Refused { reason } => reason,
        other => panic!("{other:?}"),
    }
}

/// Counts up in memory, in a global, by growth and by a start function as well as the initialiser.
const COSTLY: &str = r#"(module
    (memory (export "memory") 1 8)
    (data (i32.const 16) "seed")
    (data $later "later")
    (global $count (mut i64) (i64.const 5))
    (global $float (mut f64) (f64.const 0))
    (global $fixed i32 (i32.const 7))
    (table 2 funcref)
    (elem (i32.const 0) $start $sum)
    (func $start
      (i32.store8 (i32.const 20) (i32.const 33))
      (global.set $count (i64.mul (global.get $count) (i64.const 3))))
    (start $start)
    (func (export "_initialize") (local $i i32)
      (drop (memory.grow (i32.const 2)))
      (loop $again
        (i32.store (i32.add (i32.const 100000) (i32.shl (local.get $i) (i32.const 2))) (local.get $i))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br_if $again (i32.lt_u (local.get $i) (i32.const 1000))))
      (global.set $float (f64.const -0.0))
      (global.set $count (i64.add (global.get $count) (i64.const 1))))
    (func $sum (export "sum") (result i64) (local $i i32) (local $sum i64)
      (loop $again
        (local.set $sum (i64.add
          (i64.mul (local.get $sum) (i64.const 31))
          (i64.load8_u (local.get $i))))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br_if $again (i32.lt_u (local.get $i) (i32.shl (memory.size) (i32.const 16)))))
      (i64.add (local.get $sum) (global.get $count)))
    (func (export "pages") (result i32) (memory.size))
    (func (export "bits") (result i64) (i64.reinterpret_f64 (global.get $float)))
    (func (export "through_table") (result i64) (call_indirect (result i64) (i32.const 1)))
    (func (export "later") (result i32)
      (memory.init $later (i32.const 8) (i32.const 0) (i32.const 5))
      (i32.load8_u (i32.const 8))))"#;

/// Returns the results of each entry, in turn, on one instance, after the start that the module
/// still has.
fn results(wasm: &[u8]) -> Vec<Vec<u64>> {
    let engine = Engine::default();
    let module = Module::new(&engine, wasm).expect("the module is valid");
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[]).expect("it imports nothing");
    if instance.get_func(&mut store, "_initialize").is_some() {
        call(&mut store, instance, "_initialize");
    }
    ["pages", "sum", "bits", "through_table", "later", "sum"]
        .iter()
        .map(|name| call(&mut store, instance, name))
        .collect()
}

fn call(store: &mut Store<()>, instance: Instance, name: &str) -> Vec<u64> {
    let function = instance
        .get_func(&mut *store, name)
        .unwrap_or_else(|| panic!("no {name}"));
    let mut values = vec![Val::I32(0); function.ty(&*store).results().len()];
    function
        .call(store, &[], &mut values)
        .unwrap_or_else(|error| panic!("{name}: {error:#}"));
    values
        .iter()
        .map(|value| match value {
            Val::I32(value) => u64::from(value.cast_unsigned()),
            Val::I64(value) => value.cast_unsigned(),
            other => panic!("{other:?}"),
        })
        .collect()
}

#[test]
fn calls_find_what_the_start_left() {
    let other = preinitialised(COSTLY);
    assert_eq!(results(&other), results(&wasm(COSTLY)));
    assert_eq!(results(&other)[0], [3], "pages");
}

#[test]
fn the_source_stays_the_identity_and_the_manifest_tells_the_rest() {
    let plain = compile(COSTLY, PreinitChoice::Never);
    assert_eq!(plain.preinit, Preinit::NotAsked);
    assert!(plain.manifest.module.initialize && plain.manifest.module.start);
    let other = compile(COSTLY, PreinitChoice::Always);
    assert_eq!(other.preinit, Preinit::Done);
    assert_eq!(other.manifest.source, Digest::of(&wasm(COSTLY)));
    assert_eq!(other.wasm, plain.wasm);
    assert!(!other.manifest.module.initialize && !other.manifest.module.start);
    assert_eq!(other.manifest.module.entries, plain.manifest.module.entries);
    assert!(other.artifact != plain.artifact);
    let again = compile(COSTLY, PreinitChoice::Always);
    assert!(other.artifact == again.artifact, "the same bytes again");
}

#[test]
fn only_the_marker_asks_for_it() {
    let text = |marker: &str| {
        format!(
            r#"(module (memory (export "memory") 1) {marker}
                (func (export "_initialize") (i32.store (i32.const 0) (i32.const 1)))
                (func (export "run") (result i32) (i32.load (i32.const 0))))"#
        )
    };
    let marked = text(r#"(func (export "__preinit"))"#);
    assert_eq!(
        compile(&marked, PreinitChoice::Marked).preinit,
        Preinit::Done
    );
    assert_eq!(
        compile(&marked, PreinitChoice::Never).preinit,
        Preinit::NotAsked
    );
    let unmarked = text("");
    assert_eq!(
        compile(&unmarked, PreinitChoice::Marked).preinit,
        Preinit::NotAsked
    );
    assert_eq!(
        compile(&unmarked, PreinitChoice::Always).preinit,
        Preinit::Done
    );
    // Without a start there is nothing to run beforehand.
    let none = r#"(module (func (export "__preinit")) (func (export "run")))"#;
    assert_eq!(
        compile(none, PreinitChoice::Marked).preinit,
        Preinit::NotAsked
    );
    // The marker is no entry.
    let compiled = compile(&marked, PreinitChoice::Marked);
    let entries = &compiled.manifest.module.entries;
    assert_eq!(
        entries
            .iter()
            .map(|it| it.name.as_str())
            .collect::<Vec<_>>(),
        ["run"]
    );
}

/// A module whose start calls a function of `from`, with or without the marker.
fn calling(from: &str, name: &str, params: &str, body: &str, marker: &str) -> String {
    format!(
        r#"(module (import "{from}" "{name}" (func $f {params}))
            (memory (export "memory") 1) {marker}
            (func (export "_initialize") {body})
            (func (export "run") (result i64) (i64.load (i32.const 0))))"#
    )
}

#[test]
fn a_start_that_reads_or_changes_the_outside_is_refused_with_the_reason() {
    let wasi = "wasi_snapshot_preview1";
    let cases = [
        (
            calling(
                "ferrite",
                "time_millis",
                "(result i64)",
                "(drop (call $f))",
                "",
            ),
            "`time_millis`",
        ),
        (
            calling(
                "env",
                "ferrite_get",
                "(param i32 i32 i32 i32) (result i32)",
                "(drop (call $f (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)))",
                "",
            ),
            "`ferrite_get`",
        ),
        (
            calling(
                wasi,
                "clock_time_get",
                "(param i32 i64 i32) (result i32)",
                "(drop (call $f (i32.const 0) (i64.const 0) (i32.const 0)))",
                "",
            ),
            "time of day",
        ),
        (
            calling(
                wasi,
                "random_get",
                "(param i32 i32) (result i32)",
                "(drop (call $f (i32.const 0) (i32.const 8)))",
                "",
            ),
            "random",
        ),
        (
            calling(
                wasi,
                "fd_write",
                "(param i32 i32 i32 i32) (result i32)",
                "(drop (call $f (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 0)))",
                "",
            ),
            "output",
        ),
        (
            calling(
                wasi,
                "proc_exit",
                "(param i32)",
                "(call $f (i32.const 0))",
                "",
            ),
            "proc_exit",
        ),
        (
            calling(
                wasi,
                "clock_res_get",
                "(param i32 i32) (result i32)",
                "(drop (call $f (i32.const 0) (i32.const -1)))",
                "",
            ),
            "outside of its memory",
        ),
    ];
    for (text, expected) in cases {
        let reason = refusal(&text, PreinitChoice::Always);
        assert!(reason.contains(expected), "{text}: {reason}");
        // It is compiled all the same, and starts as it always did.
        let compiled = compile(&text, PreinitChoice::Always);
        assert!(compiled.manifest.module.initialize, "{text}");
    }
}

/// The SDK vouches for the seeds that its runtime draws; they follow from the source.
#[test]
fn the_marker_vouches_for_random_seeds() {
    let text = |marker| {
        calling(
            "wasi_snapshot_preview1",
            "random_get",
            "(param i32 i32) (result i32)",
            "(drop (call $f (i32.const 0) (i32.const 40)))",
            marker,
        )
    };
    let marked = text(r#"(func (export "__preinit"))"#);
    let compiled = compile(&marked, PreinitChoice::Marked);
    assert_eq!(compiled.preinit, Preinit::Done);
    assert!(compiled.artifact == compile(&marked, PreinitChoice::Marked).artifact);
    let other = preinitialised(&marked);
    let data: Vec<u8> = wasmparser::Parser::new(0)
        .parse_all(&other)
        .filter_map(|payload| match payload.expect("it is valid") {
            wasmparser::Payload::DataSection(section) => Some(section),
            _ => None,
        })
        .flatten()
        .flat_map(|segment| segment.expect("it is valid").data.to_vec())
        .collect();
    let zeros = data.iter().filter(|&&byte| byte == 0).count();
    assert!(data.len() >= 36 && zeros < 4, "{data:?}");
}

#[test]
fn answers_that_never_change_are_given() {
    let text = calling(
        "wasi_snapshot_preview1",
        "clock_time_get",
        "(param i32 i64 i32) (result i32)",
        "(if (call $f (i32.const 1) (i64.const 0) (i32.const 0)) (then unreachable))",
        "",
    );
    assert_eq!(compile(&text, PreinitChoice::Always).preinit, Preinit::Done);
    let text = calling(
        "wasi_snapshot_preview1",
        "fd_prestat_get",
        "(param i32 i32) (result i32)",
        "(if (i32.ne (call $f (i32.const 3) (i32.const 0)) (i32.const 8)) (then unreachable))",
        "",
    );
    assert_eq!(compile(&text, PreinitChoice::Always).preinit, Preinit::Done);
}

#[test]
fn a_start_that_fails_or_never_ends_is_refused() {
    let text = |more: &str, body: &str| {
        format!(
            r#"(module (memory (export "memory") 1) {more}
                (func (export "_initialize") {body}) (func (export "run")))"#
        )
    };
    let cases = [
        (text("", "unreachable"), "trap"),
        (
            text("", "(loop $again (br $again))"),
            "more than 1000000000 instructions",
        ),
        (
            text("", "(drop (memory.grow (i32.const 2000)))"),
            "more than 67108864 bytes",
        ),
        (
            text(
                "(table 1 funcref)",
                "(table.set 0 (i32.const 0) (ref.null func))",
            ),
            "table.set",
        ),
        (
            text("(global (mut funcref) (ref.null func))", ""),
            "reference",
        ),
        (text("(func (export \"__wizer_x\"))", ""), "__wizer_"),
    ];
    for (text, expected) in cases {
        let reason = refusal(&text, PreinitChoice::Always);
        assert!(reason.contains(expected), "{text}: {reason}");
    }
}

/// As many data segments as an engine takes, and a start that writes between them.
fn of_many_segments(more: &str) -> String {
    let many: String = (0..100_000)
        .map(|number| format!("(data (i32.const {}) \"x\\00\\00y\")", number * 32))
        .collect();
    format!(
        r#"(module (memory (export "memory") 50) {many}
            (func (export "_initialize") (i32.store8 (i32.const 40) (i32.const 7)) {more})
            (func (export "at") (param i32) (result i32) (i32.load (local.get 0))))"#
    )
}

#[test]
fn as_many_data_segments_as_an_engine_takes_leave_room_for_the_state() {
    let other = preinitialised(&of_many_segments(""));
    let engine = Engine::default();
    let module = Module::new(&engine, other).expect("it is valid");
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[]).expect("it imports nothing");
    let at = instance
        .get_typed_func::<u32, u32>(&mut store, "at")
        .expect("an entry");
    let line = u32::from_le_bytes(*b"x\0\0y");
    for (place, expected) in [
        (0, line),
        (32, line),
        (40, 7),
        (3_199_968, line),
        (3_200_000, 0),
    ] {
        assert_eq!(
            at.call(&mut store, place).expect("it runs"),
            expected,
            "{place}"
        );
    }
}

#[test]
fn data_segments_that_have_to_stay_leave_too_little_room() {
    // Code names one, so that each keeps its number.
    let named = "(memory.init 5 (i32.const 0) (i32.const 0) (i32.const 0))";
    let reason = refusal(&of_many_segments(named), PreinitChoice::Always);
    assert!(
        reason.starts_with("100000 of its data segments have to stay") && reason.contains("90000"),
        "{reason}"
    );
}
