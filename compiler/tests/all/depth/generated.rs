//! The counting pass against generated control flow, with the engine's own frames as the judge.

use std::fmt::Write as _;
use std::num::NonZeroUsize;

use ferrite_cache::DEPTH_REMAINING_EXPORT;
use ferrite_compiler::depth::instrument;
use ferrite_compiler::{SourceLimits, validate};
use wasmtime::{Caller, Config, Engine, Linker, Module, Store, Val, WasmBacktrace};

use crate::VALID;

/// Functions of a module.
const FUNCTIONS: u64 = 4;

/// Loops and calls that a run of an entry may take in all, so that every run ends.
const BUDGET: i32 = 120;

/// Writes functions of nested blocks that are left in every way there is.
struct Writer {
    numbers: u64,
    text: String,
}

impl Writer {
    /// Marsaglia's xorshift64.
    fn below(&mut self, bound: u64) -> u64 {
        self.numbers ^= self.numbers << 13;
        self.numbers ^= self.numbers >> 7;
        self.numbers ^= self.numbers << 17;
        self.numbers % bound
    }

    fn module(seed: u64) -> String {
        let mut writer = Self {
            numbers: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1,
            text: String::from(
                r#"(module (import "ferrite" "time_millis" (func $probe (result i64)))
                (type $function (func (param i32) (result i32)))
                (table 4 funcref) (elem (i32.const 0) $f0 $f1 $f2 $f3)
                (global $seen (mut i32) (i32.const 0))
                (global $budget (export "budget") (mut i32) (i32.const 0))"#,
            ),
        };
        for index in 0..FUNCTIONS {
            let _ = write!(
                writer.text,
                r#"(func $f{index} (export "f{index}") (param $n i32) (result i32)
                    (drop (call $probe)) (call $note (i32.const {index}))"#
            );
            writer.spend();
            writer.statements(0, 0);
            writer.call();
            writer.text.push_str("(global.get $seen))\n");
        }
        writer.text.push_str(
            r#"(func $note (param i32)
                (global.set $seen (i32.add (i32.mul (global.get $seen) (i32.const 31)) (local.get 0)))))"#,
        );
        writer.text
    }

    /// Ends the function when the budget is used up.
    fn spend(&mut self) {
        self.text.push_str(
            "(if (i32.le_s (global.get $budget) (i32.const 0)) (then (return (i32.const -1))))
            (global.set $budget (i32.sub (global.get $budget) (i32.const 1)))",
        );
    }

    fn call(&mut self) {
        let callee = self.below(FUNCTIONS);
        let how = match self.below(2) {
            0 => format!("(call $f{callee} (i32.sub (local.get $n) (i32.const 1)))"),
            _ => format!(
                "(call_indirect (type $function) (i32.sub (local.get $n) (i32.const 2)) (i32.const {callee}))"
            ),
        };
        let _ = write!(
            self.text,
            "(if (i32.gt_s (local.get $n) (i32.const 0)) (then (call $note {how})))"
        );
    }

    /// A few statements inside of `labels` blocks, `depth` statements deep.
    fn statements(&mut self, labels: u64, depth: u32) {
        for _ in 0..1 + self.below(3) {
            let bit = 1 << self.below(5);
            let condition = format!("(i32.and (global.get $seen) (i32.const {bit}))");
            let kind = if depth > 4 {
                5 + self.below(3)
            } else {
                self.below(9)
            };
            match kind {
                0 | 1 => {
                    self.text.push_str("(block ");
                    self.statements(labels + 1, depth + 1);
                    if labels > 0 && self.below(2) == 0 {
                        let (one, other) = (self.below(labels + 1), self.below(labels + 1));
                        let _ = write!(self.text, "(br_table {one} {other} {condition})");
                    }
                    self.text.push(')');
                }
                2 => {
                    self.text.push_str("(loop ");
                    self.spend();
                    self.statements(labels + 1, depth + 1);
                    let _ = write!(self.text, "(br_if 0 {condition}))");
                }
                3 | 4 => {
                    let _ = write!(self.text, "(if {condition} (then ");
                    self.statements(labels + 1, depth + 1);
                    self.text.push_str(") (else ");
                    self.statements(labels + 1, depth + 1);
                    self.text.push_str("))");
                }
                5 => {
                    // The function's own label, with something below on the stack.
                    let _ = write!(
                        self.text,
                        "(i32.const 5) (br_if {labels} (global.get $seen) {condition}) drop drop"
                    );
                }
                6 => {
                    let _ = write!(
                        self.text,
                        "(if {condition} (then (i32.const 9) (return (global.get $seen))))"
                    );
                }
                7 => {
                    let note = self.below(100);
                    let _ = write!(self.text, "(call $note (i32.const {note}))");
                    if labels > 0 {
                        let label = self.below(labels);
                        let _ = write!(self.text, "(br_if {label} {condition})");
                    }
                }
                _ => self.call(),
            }
        }
    }
}

/// Result of a call.
#[derive(Debug, PartialEq, Eq)]
struct Run {
    result: Option<i32>,
    budget: Option<i32>,
    /// The most frames that there were at once.
    frames: usize,
}

fn run(engine: &Engine, module: &Module, entry: &str, n: i32, allowed: Option<i32>) -> Run {
    let mut store = Store::new(engine, 0_usize);
    let mut linker = Linker::new(engine);
    linker
        .func_wrap("ferrite", "time_millis", |mut caller: Caller<'_, usize>| {
            let frames = WasmBacktrace::force_capture(&caller).frames().len();
            let most = caller.data_mut();
            *most = frames.max(*most);
            0_i64
        })
        .expect("a new name");
    let instance = linker
        .instantiate(&mut store, module)
        .expect("it instantiates");
    let left = instance.get_global(&mut store, DEPTH_REMAINING_EXPORT);
    if let (Some(left), Some(allowed)) = (left, allowed) {
        left.set(&mut store, Val::I32(allowed)).expect("mutable");
    }
    let budget = instance
        .get_global(&mut store, "budget")
        .expect("it is exported");
    budget.set(&mut store, Val::I32(BUDGET)).expect("mutable");
    let func = instance
        .get_typed_func::<i32, i32>(&mut store, entry)
        .expect("the entry is there");
    let result = func.call(&mut store, n).ok();
    if let Some(left) = left {
        let value = left.get(&mut store).i32();
        assert_eq!(value, if result.is_some() { allowed } else { Some(-1) });
    }
    Run {
        result,
        budget: budget.get(&mut store).i32(),
        frames: *store.data(),
    }
}

#[test]
fn generated_functions_nest_as_deep_as_their_frames_say() {
    let mut config = Config::new();
    config.wasm_backtrace_max_frames(NonZeroUsize::new(1000));
    let engine = Engine::new(&config).expect("an engine");
    let mut depths = Vec::new();
    for seed in 1..=60 {
        let text = Writer::module(seed);
        let source = wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        let info = validate(&source, &SourceLimits::default()).expect(VALID);
        let counted = instrument(&source, &info).expect("it can be counted");
        let plain = Module::new(&engine, &source).expect("it compiles");
        let counting =
            Module::new(&engine, &counted.wasm).unwrap_or_else(|error| panic!("{error}\n{text}"));
        for entry in ["f0", "f1", "f2", "f3"] {
            let expected = run(&engine, &plain, entry, 12, None);
            assert!(expected.result.is_some(), "{text}");
            let depth = expected.frames as i32;
            for allowed in [depth, depth + 1, i32::MAX] {
                let found = run(&engine, &counting, entry, 12, Some(allowed));
                assert_eq!(found, expected, "{entry} in {allowed}\n{text}");
            }
            let found = run(&engine, &counting, entry, 12, Some(depth - 1));
            assert_eq!(found.result, None, "{entry} in {}\n{text}", depth - 1);
            depths.push(depth);
        }
    }
    assert!(depths.iter().any(|&depth| depth > 5), "{depths:?}");
}
