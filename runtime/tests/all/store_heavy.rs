//! A generator of modules that write memory in every possible way.
//!
//! Every entry is `(i64, i64) -> i64`, mixes loads and stores of all widths with bulk operations,
//! growth, globals, host calls and traps, and ends with a checksum over everything that a
//! call can change. So two instances with equal results have equal memory and globals.

use std::fmt::Write as _;

/// Source of the generator's decisions: a fuzzer's bytes, then a sequence of its own.
pub(crate) struct Choices<'a> {
    bytes: std::slice::Iter<'a, u8>,
    state: u64,
}

impl<'a> Choices<'a> {
    /// Decisions from `bytes`, and from `seed` once those are used up.
    pub(crate) fn new(bytes: &'a [u8], seed: u64) -> Self {
        Self {
            bytes: bytes.iter(),
            state: seed | 1,
        }
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        if let Some(&byte) = self.bytes.next()
            && bound <= 256
        {
            return u64::from(byte) % bound;
        }
        // Marsaglia's xorshift64.
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state % bound
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }
}

/// Entries of every module.
pub(crate) const ENTRIES: u64 = 3;

/// Stores, with the conversion from the `i64` on the stack to their value.
const STORES: &[(&str, &str)] = &[
    ("i32.store8", "i32.wrap_i64"),
    ("i32.store16", "i32.wrap_i64"),
    ("i32.store", "i32.wrap_i64"),
    ("i64.store8", ""),
    ("i64.store16", ""),
    ("i64.store32", ""),
    ("i64.store", ""),
    ("f32.store", "f32.convert_i64_s"),
    ("f64.store", "f64.convert_i64_s"),
    ("v128.store", "i64x2.splat"),
    ("v128.store8_lane 3", "i64x2.splat"),
];

/// Loads, with the conversion from their value to an `i64`.
const LOADS: &[(&str, &str)] = &[
    ("i32.load8_u", "i64.extend_i32_u"),
    ("i32.load16_s", "i64.extend_i32_s"),
    ("i32.load", "i64.extend_i32_u"),
    ("i64.load32_u", ""),
    ("i64.load", ""),
    ("f64.load", "i64.reinterpret_f64"),
    ("v128.load", "i64x2.extract_lane 1"),
];

/// A module in WebAssembly text.
pub(crate) fn module(choices: &mut Choices<'_>) -> String {
    let pages = 1 + choices.below(3);
    let grows = choices.below(4) > 0;
    let maximum = match choices.below(3) {
        0 => (pages + choices.below(80)).to_string(),
        _ => String::new(),
    };
    let mut wat = format!(
        r#"(module
(import "ferrite" "arg" (func $arg (param i32 i32 i32) (result i32)))
(import "ferrite" "random" (func $random (param i32 i32)))
(memory (export "memory") {pages} {maximum})
(global $a (mut i32) (i32.const {}))
(global $b (mut i64) (i64.const {}))
(global $c (mut f32) (f32.const 1.5))
(global $d (mut f64) (f64.const -2.25))
(global $e (mut v128) (v128.const i64x2 {} 9))
(data $passive "a passive segment that is copied into memory at run time")
"#,
        choices.below(1000),
        choices.below(1 << 40),
        choices.below(1 << 20),
    );
    for _ in 0..choices.below(4) {
        let at = choices.below(pages * 65_536 - 40);
        let byte = choices.below(255) + 1;
        let _ = writeln!(
            wat,
            "(data (i32.const {at}) \"{}\")",
            format!("\\{byte:02x}").repeat(1 + byte as usize % 40)
        );
    }
    wat.push_str(CHECKSUM);
    for entry in 0..ENTRIES {
        let _ = writeln!(
            wat,
            "(func $f{entry} (export \"f{entry}\") (param $x i64) (param $y i64) (result i64)
             (local $acc i64) (local $i i32)"
        );
        for _ in 0..2 + choices.below(12) {
            statement(choices, &mut wat, pages, grows, entry);
        }
        wat.push_str("(i64.xor (local.get $acc) (call $checksum)))\n");
    }
    wat.push(')');
    wat
}

/// Folds memory and globals into a number.
const CHECKSUM: &str =
    "(func $checksum (result i64) (local $at i32) (local $sum i64) (local $end i32)
  (local.set $end (i32.shl (memory.size) (i32.const 16)))
  (local.set $sum (i64.add (i64.extend_i32_s (global.get $a)) (global.get $b)))
  (local.set $sum (i64.xor (local.get $sum) (i64.reinterpret_f64
    (f64.add (f64.promote_f32 (global.get $c)) (global.get $d)))))
  (local.set $sum (i64.add (local.get $sum) (i64x2.extract_lane 0 (global.get $e))))
  (block $done (loop $next
    (br_if $done (i32.ge_u (local.get $at) (local.get $end)))
    (local.set $sum (i64.add (i64.rotl (local.get $sum) (i64.const 5)) (i64.load (local.get $at))))
    (local.set $at (i32.add (local.get $at) (i32.const 8)))
    (br $next)))
  (local.get $sum))
";

/// An address: mostly inside, often at an edge of a page, sometimes of the memory.
fn address(choices: &mut Choices<'_>, pages: u64) -> String {
    let bytes = pages * 65_536;
    match choices.below(8) {
        0..=3 => {
            let mask = bytes.next_power_of_two() / 2 - 1;
            let mul = 1 + 2 * choices.below(1 << 20);
            format!(
                "(i32.and (i32.wrap_i64 (i64.mul (i64.add (local.get $x) (local.get $acc)) (i64.const {mul}))) (i32.const {mask}))"
            )
        }
        4 | 5 => {
            let page = 1 + choices.below(bytes / 4096 - 1);
            format!("(i32.const {})", page * 4096 - choices.below(17))
        }
        6 => format!(
            "(i32.sub (i32.shl (memory.size) (i32.const 16)) (i32.const {}))",
            16 + choices.below(64)
        ),
        // The last bytes, where wide accesses may end beyond.
        _ => format!("(i32.const {})", bytes - 1 - choices.below(200)),
    }
}

fn statement(choices: &mut Choices<'_>, wat: &mut String, pages: u64, grows: bool, entry: u64) {
    let at = address(choices, pages);
    let text = match choices.below(16) {
        0..=4 => {
            let (store, convert) = choices.pick(STORES);
            let offset = choices.below(32);
            let (store, lane) = store.split_once(' ').unwrap_or((store, ""));
            let value = "(i64.add (local.get $y) (local.get $acc))";
            let value = if convert.is_empty() {
                value.to_owned()
            } else {
                format!("({convert} {value})")
            };
            format!("({store} offset={offset} {lane} {at} {value})")
        }
        5 | 6 => {
            let (load, convert) = choices.pick(LOADS);
            let load = format!("({load} {at})");
            let load = if convert.is_empty() {
                load
            } else {
                format!("({convert} {load})")
            };
            format!("(local.set $acc (i64.add (i64.rotl (local.get $acc) (i64.const 7)) {load}))")
        }
        7 => match choices.below(5) {
            0 => "(global.set $a (i32.add (global.get $a) (i32.wrap_i64 (local.get $x))))".into(),
            1 => "(global.set $b (i64.xor (global.get $b) (local.get $y)))".into(),
            2 => "(global.set $c (f32.add (global.get $c) (f32.const 1)))".into(),
            3 => "(global.set $d (f64.mul (global.get $d) (f64.const 1.25)))".into(),
            _ => "(global.set $e (i64x2.add (global.get $e) (i64x2.splat (local.get $x))))".into(),
        },
        8 => {
            let (byte, len) = (choices.below(256), choices.below(20_000));
            format!("(memory.fill {at} (i32.const {byte}) (i32.const {len}))")
        }
        9 => {
            let from = address(choices, pages);
            let len = choices.below(9000);
            format!("(memory.copy {at} {from} (i32.const {len}))")
        }
        10 => {
            let from = choices.below(20);
            format!("(memory.init $passive {at} (i32.const {from}) (i32.const 30))")
        }
        11 if grows => {
            let delta = choices.pick(&[0_u64, 1, 1, 2, 5, 62, 64, 65]);
            format!(
                "(local.set $acc (i64.add (local.get $acc) (i64.extend_i32_s (memory.grow (i32.const {delta})))))"
            )
        }
        // A byte on each of many pages.
        12 => {
            let (count, step) = (choices.below(100), 4096 + choices.below(5000));
            let mask = pages * 65_536 - 1;
            format!(
                "(local.set $i (i32.const {count})) (block $end (loop $again
                   (br_if $end (i32.eqz (local.get $i)))
                   (local.set $i (i32.sub (local.get $i) (i32.const 1)))
                   (i32.store8 (i32.rem_u (i32.mul (local.get $i) (i32.const {step})) (i32.const {mask})) (local.get $i))
                   (br $again)))"
            )
        }
        13 if entry > 0 => format!(
            "(local.set $acc (i64.add (local.get $acc) (call $f{} (local.get $y) (local.get $acc))))",
            entry - 1
        ),
        // The host writes: an argument, and bytes that nothing reads but a rewind must remove.
        14 => {
            let len = choices.below(64);
            format!(
                "(drop (call $arg (i32.const {}) {at} (i32.const {len})))",
                choices.below(3)
            )
        }
        15 => {
            let every = 3 + choices.below(60);
            format!(
                "(if (i64.eqz (i64.rem_u (local.get $x) (i64.const {every}))) (then unreachable))"
            )
        }
        _ => "(local.set $acc (i64.add (local.get $acc) (i64.extend_i32_u (memory.size))))".into(),
    };
    wat.push_str(&text);
    wat.push('\n');
}
