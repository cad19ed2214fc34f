//! Places at which metered code looks at its fuel: on every way round, and in time.

use std::collections::HashSet;
use std::fmt::Write as _;

use ferrite_cache::METER_FUEL_EXPORT;
use ferrite_compiler::meter::meter;
use wasmparser::{ElementItems, FuncType, Operator, Parser, Payload, TypeRef};

use super::modules::{KERNELS, kernel, random};
use super::{Metered, engines, metered_bytes};

/// Units that code may run between two looks at the fuel.
const BETWEEN_CHECKS: i64 = 16 << 10;

/// The same on the way back from a call.
const AFTER_A_CALL: i64 = 512;

/// Units that a function may have to be paid by its callers, or to have no look at the fuel.
const FUNCTION: i64 = 4096;

/// A function of a metered module.
#[derive(Default)]
struct Function {
    /// Offset of the comparison in the look where it begins.
    entry_check: Option<usize>,
    /// Offsets of the loops that begin without a look at the fuel.
    unchecked_loops: Vec<usize>,
    /// Offsets of the comparisons in the looks at the heads of loops.
    loop_checks: Vec<usize>,
    callees: HashSet<u32>,
}

/// Reads the functions of a metered module that its author wrote, by index.
fn functions(wasm: &[u8]) -> Vec<(u32, Function)> {
    let (mut imported, mut fuel, mut named) = (0, None, HashSet::new());
    let (mut types, mut types_of) = (Vec::<FuncType>::new(), Vec::new());
    let mut functions = Vec::new();
    for payload in Parser::new(0).parse_all(wasm) {
        match payload.expect("it is valid") {
            Payload::TypeSection(section) => {
                for group in section.into_iter_err_on_gc_types() {
                    types.push(group.expect("it is valid"));
                }
            }
            Payload::FunctionSection(section) => {
                types_of.extend(section.into_iter().map(Result::unwrap));
            }
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    let import = import.expect("it is valid");
                    imported += u32::from(matches!(import.ty, TypeRef::Func(_)));
                }
            }
            Payload::ExportSection(section) => {
                for export in section {
                    let export = export.expect("it is valid");
                    if export.name == METER_FUEL_EXPORT {
                        fuel = Some(export.index);
                    }
                }
            }
            Payload::ElementSection(section) => {
                for element in section {
                    match element.expect("it is valid").items {
                        ElementItems::Functions(functions) => {
                            named.extend(functions.into_iter().map(Result::unwrap));
                        }
                        ElementItems::Expressions(_, expressions) => {
                            for expression in expressions {
                                let expression = expression.expect("it is valid");
                                for operator in expression.get_operators_reader() {
                                    if let Ok(Operator::RefFunc { function_index }) = operator {
                                        named.insert(function_index);
                                    }
                                }
                            }
                        }
                    }
                }
            }
            Payload::CodeSectionEntry(body) => {
                let operators: Vec<(Operator<'_>, usize)> = body
                    .get_operators_reader()
                    .expect("it is valid")
                    .into_iter_with_offsets()
                    .collect::<Result<_, _>>()
                    .expect("it is valid");
                functions.push(operators);
            }
            _ => {}
        }
    }
    let fuel = fuel.expect("the fuel is exported");
    // The first function that the pass added is the one that calls the host through its table.
    let is_hook = |operators: &[(Operator<'_>, usize)]| {
        matches!(
            operators,
            [
                (Operator::I32Const { value: 0 }, _),
                (Operator::CallIndirect { .. }, _),
                (Operator::End, _)
            ]
        )
    };
    let hook = functions
        .iter()
        .rposition(|operators| is_hook(operators))
        .expect("the pass adds it");
    let hook_index = imported + hook as u32;
    functions.truncate(hook);
    functions
        .into_iter()
        .enumerate()
        .map(|(place, operators)| {
            let mut function = Function::default();
            let check = |from: usize| check_at(&operators[from..], fuel, hook_index);
            function.entry_check = check(0);
            let mut live = Live::default();
            for (number, (operator, at)) in operators.iter().enumerate() {
                let is_live = live.now;
                live.next(operator);
                match operator {
                    Operator::Loop { .. } if !is_live => {}
                    Operator::Loop { .. } => match check(number + 1) {
                        Some(comparison) => function.loop_checks.push(comparison),
                        None => function.unchecked_loops.push(*at),
                    },
                    Operator::Call { function_index } if *function_index != hook_index => {
                        function.callees.insert(*function_index);
                    }
                    // A reference leads to functions of its type alone; to any other, the call traps.
                    Operator::CallIndirect { type_index, .. } => {
                        let called = named.iter().filter(|&&named: &&u32| {
                            let place = named.checked_sub(imported).map(|place| place as usize);
                            let ty: Option<&u32> = place.and_then(|place| types_of.get(place));
                            ty.is_some_and(|&ty| types[ty as usize] == types[*type_index as usize])
                        });
                        function.callees.extend(called);
                    }
                    _ => {}
                }
            }
            (imported + place as u32, function)
        })
        .collect()
}

/// Tells which code may run: dead code is not charged for.
struct Live {
    now: bool,
    /// For each open block, if its end may be reached by a branch or another arm, and if it is a loop.
    blocks: Vec<(bool, bool)>,
}

impl Default for Live {
    fn default() -> Self {
        Self {
            now: true,
            blocks: Vec::new(),
        }
    }
}

impl Live {
    fn next(&mut self, operator: &Operator<'_>) {
        let now = self.now;
        let mut branch = |depth: u32| {
            let at = self.blocks.len().checked_sub(1 + depth as usize);
            if let Some((reached, _)) = at.and_then(|at| self.blocks.get_mut(at)) {
                *reached |= now;
            }
        };
        match operator {
            Operator::Block { .. } => self.blocks.push((false, false)),
            Operator::Loop { .. } => self.blocks.push((false, true)),
            Operator::If { .. } => self.blocks.push((now, false)),
            Operator::Else => self.now = self.blocks.last().is_some_and(|(reached, _)| *reached),
            Operator::End => {
                let (reached, is_loop) = self.blocks.pop().unwrap_or_default();
                self.now |= reached && !is_loop;
            }
            Operator::BrIf { relative_depth } => branch(*relative_depth),
            Operator::Br { relative_depth } => {
                branch(*relative_depth);
                self.now = false;
            }
            Operator::BrTable { targets } => {
                for target in targets.targets() {
                    branch(target.expect("it is valid"));
                }
                branch(targets.default());
                self.now = false;
            }
            Operator::Return | Operator::Unreachable => self.now = false,
            _ => {}
        }
    }
}

/// Returns the offset of the comparison if the code begins with a charge that looks at the fuel.
fn check_at(code: &[(Operator<'_>, usize)], fuel: u32, hook: u32) -> Option<usize> {
    match code {
        [
            (Operator::GlobalGet { global_index: a }, _),
            (Operator::I64Const { value: 1.. }, _),
            (Operator::I64Sub, _),
            (Operator::GlobalSet { global_index: b }, _),
            (Operator::GlobalGet { global_index: c }, _),
            (Operator::I64Const { value: 0 }, _),
            (Operator::I64LtS, at),
            (Operator::If { .. }, _),
            (Operator::Call { function_index }, _),
            (Operator::End, _),
            ..,
        ] if [a, b, c] == [&fuel; 3] && *function_index == hook => Some(*at),
        _ => None,
    }
}

/// Returns what goes round without a look at the fuel: the loops, and a function that may call itself
/// through others.
fn free_ways_round(wasm: &[u8]) -> Vec<String> {
    let functions = functions(wasm);
    let mut free = Vec::new();
    for (index, function) in &functions {
        for at in &function.unchecked_loops {
            free.push(format!("a loop of function {index} at {at:#x}"));
        }
    }
    // Functions without a look, callees first; one that is never reached this way is in a cycle.
    let mut open: Vec<(u32, HashSet<u32>)> = functions
        .iter()
        .filter(|(_, function)| function.entry_check.is_none())
        .map(|(index, function)| (*index, function.callees.clone()))
        .collect();
    loop {
        let unchecked: HashSet<u32> = open.iter().map(|(index, _)| *index).collect();
        let before = open.len();
        open.retain(|(_, callees)| !callees.is_disjoint(&unchecked));
        if open.len() == before {
            break;
        }
    }
    free.extend(open.iter().map(|(index, _)| format!("function {index}")));
    free
}

#[test]
fn every_way_round_looks_at_the_fuel() {
    let mut loops = 0;
    let kernels = KERNELS.iter().map(|(_, body)| kernel(body));
    for wasm in kernels.chain((0..300).filter_map(random)) {
        let Ok(metered) = meter(&wasm) else { continue };
        assert_eq!(free_ways_round(&metered.wasm), Vec::<String>::new());
        let functions = functions(&metered.wasm);
        loops += functions
            .iter()
            .map(|(_, function)| function.loop_checks.len())
            .sum::<usize>();
    }
    assert!(loops > 200, "{loops} loops were looked at");
}

#[test]
fn a_look_at_the_fuel_that_is_missing_is_found() {
    let mut mutants = 0;
    for (what, body) in KERNELS {
        let wasm = metered_bytes(&kernel(body));
        for (_, function) in functions(&wasm) {
            for at in function.loop_checks.into_iter().chain(function.entry_check) {
                let mut mutant = wasm.clone();
                // `i64.ge_u` with 0 is always true, and `i64.lt_s` is what stood here.
                mutant[at] = 0x5a;
                assert!(!free_ways_round(&mutant).is_empty(), "{what}");
                mutants += 1;
            }
        }
    }
    assert!(mutants >= 18, "{mutants}");
    // Each of the two calls itself through the other.
    let round = kernel(
        r#"(global (export "__ferrite_fuel") (mut i64) (i64.const 0)) (table 1 funcref)
           (func $a (call $b)) (func $b (call $a)) (func (export "run") (call $a))
           (func (call_indirect (i32.const 0)))"#,
    );
    assert_eq!(
        free_ways_round(&round),
        ["function 0", "function 1", "function 2"]
    );
}

/// Runs `run` to its end.
fn ran(body: &str) -> Metered {
    let (_, engine) = engines();
    let wasm = metered_bytes(&kernel(body));
    let mut metered = Metered::new(&engine, &wasm, 1 << 40).expect("the kernel is valid");
    let run = metered
        .instance
        .get_func(&mut metered.store, "run")
        .expect("it is exported");
    run.call(&mut metered.store, &[], &mut [])
        .expect("it returns");
    metered
}

/// Runs `run`, and returns the most units that it used beyond a slice when it called the host.
fn late(body: &str) -> i64 {
    let mut metered = ran(body);
    let used = metered.used();
    assert!(used > 1 << 20, "{used} units");
    // What it used after the last time counts too.
    let left = metered.fuel.get(&mut metered.store).i64();
    (-left.expect("it is an i64")).max(metered.store.data().late)
}

/// `count` additions to a local.
fn additions(count: usize) -> String {
    "(local.set 0 (i32.add (local.get 0) (i32.const 3)))".repeat(count)
}

#[test]
fn functions_that_do_not_look_at_the_fuel_add_up_to_little() {
    // Each function calls the one before it twice: 2^18 calls of the first. An exported function is not
    // paid by its callers.
    let mut body = format!(r#"(func $f0 (export "f0") (param i32) {})"#, additions(3));
    for level in 1..=18 {
        let before = level - 1;
        let _ = write!(
            body,
            r#"(func $f{level} (export "f{level}") (param i32)
                (call $f{before} (local.get 0)) (call $f{before} (local.get 0)))"#
        );
    }
    body.push_str(r#"(func (export "run") (call $f18 (i32.const 1)))"#);
    let late = late(&body);
    assert!(late <= BETWEEN_CHECKS + FUNCTION, "{late}");
}

#[test]
fn long_code_looks_at_the_fuel_now_and_then() {
    let work = format!(
        "(func $work (param i32) {})",
        additions(FUNCTION as usize / 5)
    );
    let shown = work.replace("$work", r#"$shown (export "shown")"#);
    for (what, call) in [
        ("paid by the caller", "(call $work (local.get 0))"),
        ("paid by itself", "(call $shown (local.get 0))"),
        (
            "paid in an arm",
            "(if (local.get 0) (then (call $work (i32.const 1))))",
        ),
        ("no calls", &additions(1000)),
    ] {
        let calls = call.repeat(600);
        let body = format!(
            r#"{work} {shown} (func (export "run") (local i32)
                (local.set 0 (i32.const 1)) {calls})"#
        );
        let late = late(&body);
        assert!(late <= BETWEEN_CHECKS + 2 * FUNCTION, "{what}: {late}");
    }
}

#[test]
fn nested_calls_that_return_look_at_the_fuel_soon() {
    const DEPTH: i64 = 4000;
    for (what, units) in [("little each", 400), ("much each", 4000)] {
        let body = format!(
            r#"(func $f (param i32)
                (if (local.get 0) (then (call $f (i32.sub (local.get 0) (i32.const 1)))))
                (if (i32.const 1) (then {})))
              (func (export "run") (call $f (i32.const {DEPTH})))"#,
            additions(units / 4)
        );
        let late = late(&body);
        assert!(
            late <= AFTER_A_CALL * DEPTH + BETWEEN_CHECKS,
            "{what}: {late}"
        );
    }
}

#[test]
fn a_function_that_returns_by_a_branch_to_its_own_label_is_valid() {
    let body = format!(
        r#"(func $f (export "f") (param i32)
            (br_if 0 (i32.eqz (local.get 0)))
            (call $f (i32.sub (local.get 0) (i32.const 1)))
            {})
          (func (export "run") (local i32)
            (loop $next
                (call $f (i32.const 30))
                (local.set 0 (i32.add (local.get 0) (i32.const 1)))
                (br_if $next (i32.lt_u (local.get 0) (i32.const 100)))))"#,
        additions(150)
    );
    let late = late(&body);
    assert!(late <= BETWEEN_CHECKS + FUNCTION, "{late}");
}

#[test]
fn code_in_empty_blocks_looks_at_the_fuel_now_and_then() {
    let blocks = format!("{} (block)", additions(200)).repeat(2000);
    let body = format!(r#"(func (export "run") (local i32) {blocks})"#);
    let late = late(&body);
    assert!(late <= BETWEEN_CHECKS + 2 * FUNCTION, "{late}");
}

#[test]
fn code_after_a_call_is_not_paid_before_it_if_it_is_long() {
    const DEPTH: u64 = 1000;
    for (what, after) in [
        ("in the same block", additions(1000)),
        (
            "after arms that meet",
            format!(
                "(if (local.get 0) (then (local.set 0 (i32.const 1)))) {}",
                additions(1000)
            ),
        ),
    ] {
        let body = format!(
            r#"(global $returning (export "returning") (mut i32) (i32.const 0))
              (func $f (export "f") (param i32)
                (if (local.get 0) (then (call $f (i32.sub (local.get 0) (i32.const 1))))
                    (else (global.set $returning (i32.const 1))))
                {after})
              (func (export "run") (call $f (i32.const {DEPTH})))"#
        );
        let looks = ran(&body).store.data().returning;
        assert!(looks >= DEPTH, "{what}: {looks}");
    }
}

/// Functions `$f0` to `$f99` that call each other in a chain, are members of cycles of their own, and run twice
/// 8,000 units on the way back.
fn chain(member: impl Fn(usize) -> String, last: &str, call: &str) -> String {
    let members: String = (0..LEVELS).map(member).collect();
    format!(
        r#"(global $one i32 (i32.const 1)) (func $work (param i32) {}) {members} {last}
          (func (export "run") (local i32)
            (loop $next
                {call}
                (local.set 0 (i32.add (local.get 0) (i32.const 1)))
                (br_if $next (i32.lt_u (local.get 0) (i32.const 4)))))"#,
        additions(FUNCTION as usize / 4 - 30)
    )
}

const LEVELS: usize = 100;

/// Two pieces of code that run, of some 8,000 units each.
const ARMS: &str = r#"
    (if (global.get $one) (then (call $work (i32.const 1)) (call $work (i32.const 1))))
    (if (global.get $one) (then (call $work (i32.const 1)) (call $work (i32.const 1))))"#;

#[test]
fn calls_that_return_from_one_cycle_into_another_look_at_the_fuel_soon() {
    let parameters = |level: usize| "i64 ".repeat(level + 1);
    let zeros = |level: usize| "(i64.const 0) ".repeat(level + 1);
    let by_reference = |level: usize| {
        let (next, of_this, of_next) = (level + 1, zeros(level), zeros(level + 1));
        format!(
            r#"(type $t{level} (func (param i32 {})))
              (func $f{level} (type $t{level}) (call $f{next} (local.get 0) {of_next}) {ARMS}
                (if (local.get 0) (then
                    (call_indirect (type $t{level}) (i32.const 0) {of_this} (i32.const {level})))))"#,
            parameters(level)
        )
    };
    let elements: String = (0..LEVELS).map(|level| format!("$f{level} ")).collect();
    let indirect = chain(
        by_reference,
        &format!(
            "(table funcref (elem {elements})) (func $f{LEVELS} (param i32 {}))",
            parameters(LEVELS)
        ),
        "(call $f0 (i32.const 0) (i64.const 0))",
    );
    let direct = chain(
        |level| {
            let next = level + 1;
            format!(
                r#"(func $g{level} (param i32) (call $f{level} (local.get 0)))
                  (func $f{level} (param i32)
                    (if (local.get 0) (then (call $g{level} (i32.const 0))))
                    (call $g{next} (i32.const 0)) {ARMS})"#
            )
        },
        &format!("(func $g{LEVELS} (param i32))"),
        "(call $f0 (i32.const 0))",
    );
    for (what, body) in [("by references", indirect), ("directly", direct)] {
        let late = late(&body);
        assert!(late <= BETWEEN_CHECKS + 6 * FUNCTION, "{what}: {late}");
    }
}
