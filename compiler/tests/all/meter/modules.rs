//! Modules to meter: random ones, and kernels whose control flow is worth a look.

use arbitrary::Unstructured;
use wasm_smith::{Config as SmithConfig, Module as SmithModule};

/// A random module without imports, by its number.
pub(super) fn random(number: u64) -> Option<Vec<u8>> {
    // A generator of the test's own, so that a number is the same module everywhere.
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = vec![0; 4096];
    for byte in &mut bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        *byte = (state >> 32) as u8;
    }
    let config = SmithConfig {
        max_imports: 0,
        allow_start_export: true,
        export_everything: true,
        max_memories: 1,
        max_tables: 2,
        min_funcs: 1,
        max_funcs: 12,
        // Wasmtime pays for these by another measure; the kernels have them.
        bulk_memory_enabled: false,
        // With them come references to values of the host, which modules may not use.
        reference_types_enabled: false,
        multi_value_enabled: true,
        simd_enabled: true,
        relaxed_simd_enabled: false,
        saturating_float_to_int_enabled: true,
        sign_extension_ops_enabled: true,
        exceptions_enabled: false,
        gc_enabled: false,
        memory64_enabled: false,
        tail_call_enabled: false,
        threads_enabled: false,
        custom_page_sizes_enabled: false,
        wide_arithmetic_enabled: false,
        extended_const_enabled: false,
        canonicalize_nans: false,
        max_memory32_bytes: 4 << 20,
        max_table_elements: 100,
        ..SmithConfig::default()
    };
    let mut input = Unstructured::new(&bytes);
    let module = SmithModule::new(config, &mut input).ok()?;
    let wasm = module.to_bytes();
    Some(wasm)
}

/// Modules whose control flow is worth a look.
pub(super) const KERNELS: &[(&str, &str)] = &[
    (
        "a tight loop",
        r#"(func (export "run") (result i64) (local $i i32) (local $sum i64)
            (loop $next
                (local.set $sum (i64.add (local.get $sum) (i64.extend_i32_u (local.get $i))))
                (local.set $i (i32.add (local.get $i) (i32.const 1)))
                (br_if $next (i32.lt_u (local.get $i) (i32.const 10000))))
            (local.get $sum))"#,
    ),
    (
        "an empty loop",
        r#"(func (export "run") (param i32) (loop $next (br $next)))"#,
    ),
    (
        "a loop that is left in the middle",
        r#"(func (export "run") (result i32) (local $i i32)
            (block $out (loop $next
                (local.set $i (i32.add (local.get $i) (i32.const 1)))
                (br_if $out (i32.eq (local.get $i) (i32.const 777)))
                (nop) (drop (i32.const 1)) (drop (i32.const 2)) (drop (i32.const 3))
                (br $next)))
            (local.get $i))"#,
    ),
    (
        "loops in loops",
        r#"(func (export "run") (result i32) (local $i i32) (local $j i32) (local $n i32)
            (loop $outer
                (local.set $j (i32.const 0))
                (loop $inner
                    (local.set $n (i32.add (local.get $n) (i32.const 1)))
                    (local.set $j (i32.add (local.get $j) (i32.const 1)))
                    (br_if $inner (i32.lt_u (local.get $j) (i32.const 50))))
                (local.set $i (i32.add (local.get $i) (i32.const 1)))
                (br_if $outer (i32.lt_u (local.get $i) (i32.const 40))))
            (local.get $n))"#,
    ),
    (
        "recursion of one",
        r#"(func $f (export "run") (param i32) (result i32)
            (if (result i32) (i32.lt_u (local.get 0) (i32.const 2)) (then (local.get 0))
                (else (i32.add (call $f (i32.sub (local.get 0) (i32.const 1)))
                               (call $f (i32.sub (local.get 0) (i32.const 2)))))))
          (func (export "fib") (result i32) (call $f (i32.const 15)))"#,
    ),
    (
        "recursion of three, none of them exported",
        r#"(func $a (param i32) (result i32) (if (result i32) (local.get 0)
                (then (call $b (i32.sub (local.get 0) (i32.const 1)))) (else (i32.const 7))))
          (func $b (param i32) (result i32) (call $c (local.get 0)))
          (func $c (param i32) (result i32) (call $a (local.get 0)))
          (func (export "run") (result i32) (call $a (i32.const 3000)))"#,
    ),
    (
        "calls through a table",
        r#"(type $t (func (param i32) (result i32)))
          (table funcref (elem $leaf $again))
          (func $leaf (type $t) (local.get 0))
          (func $again (type $t) (if (result i32) (local.get 0)
                (then (call_indirect (type $t) (i32.sub (local.get 0) (i32.const 1)) (i32.const 1)))
                (else (call_indirect (type $t) (i32.const 5) (i32.const 0)))))
          (func (export "run") (result i32) (call $again (i32.const 2000)))"#,
    ),
    (
        "small functions calling small functions",
        r#"(func $one (param i32) (result i32) (i32.add (local.get 0) (i32.const 1)))
          (func $two (param i32) (result i32) (call $one (call $one (local.get 0))))
          (func $four (param i32) (result i32) (call $two (call $two (local.get 0))))
          (func (export "run") (result i32) (local $i i32) (local $n i32)
            (loop $next
                (local.set $n (call $four (local.get $n)))
                (local.set $i (i32.add (local.get $i) (i32.const 1)))
                (br_if $next (i32.lt_u (local.get $i) (i32.const 1000))))
            (local.get $n))"#,
    ),
    (
        "a maze of br_table",
        r#"(func (export "run") (result i32) (local $i i32) (local $n i32)
            (loop $next
                (block $d (block $c (block $b (block $a
                    (br_table $a $b $c $d (i32.and (local.get $i) (i32.const 3))))
                    (local.set $n (i32.add (local.get $n) (i32.const 1))) (br $d))
                    (local.set $n (i32.mul (local.get $n) (i32.const 3)))
                    (local.set $n (i32.xor (local.get $n) (i32.const 5)))
                    (local.set $n (i32.add (local.get $n) (i32.const 9))) (br $d))
                    (local.set $n (i32.rotl (local.get $n) (i32.const 3))))
                (local.set $i (i32.add (local.get $i) (i32.const 1)))
                (br_if $next (i32.lt_u (local.get $i) (i32.const 5000))))
            (local.get $n))"#,
    ),
    (
        "a switch of many arms that meet",
        r#"(func (export "run") (result i32) (local $i i32) (local $n i32)
            (loop $next
                (block $end (block $d (block $c (block $b (block $a
                    (br_table $a $b $c $d $a $b $c $d (i32.and (local.get $i) (i32.const 7))))
                    (local.set $n (i32.add (local.get $n) (i32.const 1)))
                    (local.set $n (i32.xor (local.get $n) (i32.const 2))) (br $end))
                    (local.set $n (i32.mul (local.get $n) (i32.const 3)))
                    (local.set $n (i32.xor (local.get $n) (i32.const 4))) (br $end))
                    (local.set $n (i32.rotl (local.get $n) (i32.const 5)))
                    (local.set $n (i32.xor (local.get $n) (i32.const 6))) (br $end))
                    (local.set $n (i32.sub (local.get $n) (i32.const 7)))
                    (local.set $n (i32.xor (local.get $n) (i32.const 8))))
                (local.set $i (i32.add (local.get $i) (i32.const 1)))
                (br_if $next (i32.lt_u (local.get $i) (i32.const 5000))))
            (local.get $n))"#,
    ),
    (
        "arms of equal length before long code",
        r#"(func (export "run") (result i32) (local $i i32) (local $n i32)
            (loop $next
                (if (i32.and (local.get $i) (i32.const 1))
                    (then (local.set $n (i32.add (local.get $n) (i32.const 1))))
                    (else (local.set $n (i32.sub (local.get $n) (i32.const 1)))))
                (local.set $n (i32.xor (i32.add (i32.mul (i32.rotl (i32.xor (i32.add (i32.mul
                    (i32.rotl (i32.xor (i32.add (i32.mul (i32.rotl (local.get $n)
                    (i32.const 1)) (i32.const 3)) (i32.const 5)) (i32.const 7))
                    (i32.const 9)) (i32.const 11)) (i32.const 13)) (i32.const 15))
                    (i32.const 17)) (i32.const 19)) (i32.const 21)) (i32.const 23)))
                (local.set $n (i32.xor (i32.add (i32.mul (i32.rotl (i32.xor (i32.add (i32.mul
                    (i32.rotl (i32.xor (i32.add (i32.mul (i32.rotl (local.get $n)
                    (i32.const 2)) (i32.const 4)) (i32.const 6)) (i32.const 8))
                    (i32.const 10)) (i32.const 12)) (i32.const 14)) (i32.const 16))
                    (i32.const 18)) (i32.const 20)) (i32.const 22)) (i32.const 24)))
                (local.set $i (i32.add (local.get $i) (i32.const 1)))
                (br_if $next (i32.lt_u (local.get $i) (i32.const 3000))))
            (local.get $n))"#,
    ),
    (
        "ways out of several loops to long code",
        r#"(func $step (param $i i32) (result i32) (local $n i32)
            (block $out
                (loop $outer
                    (local.set $i (i32.add (local.get $i) (i32.const 1)))
                    (loop $inner
                        (br_if $out (i32.eq (i32.rem_u (local.get $i) (i32.const 97)) (i32.const 0)))
                        (br_if $outer (i32.and (local.get $i) (i32.const 1)))
                        (local.set $i (i32.add (local.get $i) (i32.const 3)))
                        (if (i32.gt_u (local.get $i) (i32.const 5000)) (then (return (local.get $n))))
                        (br $inner)))
                (unreachable))
            (local.set $n (i32.xor (i32.add (i32.mul (i32.rotl (i32.xor (i32.add (i32.mul
                (i32.rotl (i32.xor (i32.add (i32.mul (i32.rotl (local.get $i)
                (i32.const 1)) (i32.const 3)) (i32.const 5)) (i32.const 7))
                (i32.const 9)) (i32.const 11)) (i32.const 13)) (i32.const 15))
                (i32.const 17)) (i32.const 19)) (i32.const 21)) (i32.const 23)))
            (i32.xor (local.get $n) (local.get $i)))
          (func (export "run") (result i32) (local $i i32) (local $n i32)
            (loop $next
                (local.set $n (i32.xor (local.get $n) (call $step (local.get $i))))
                (local.set $i (i32.add (local.get $i) (i32.const 1)))
                (br_if $next (i32.lt_u (local.get $i) (i32.const 300))))
            (local.get $n))"#,
    ),
    (
        "references of two types, one of which leads round",
        r#"(type $round (func (param i32) (result i32)))
          (type $leaf (func (param i64) (result i32)))
          (table funcref (elem $again $more $one $two))
          (func $again (type $round) (call $through (local.get 0)))
          (func $through (param i32) (result i32)
            (if (result i32) (local.get 0)
                (then (call_indirect (type $round) (i32.sub (local.get 0) (i32.const 1)) (i32.const 1)))
                (else (i32.const 5))))
          (func $more (type $round)
            (i32.add (call $through (local.get 0))
                (call_indirect (type $leaf) (i64.const 3) (i32.const 2))))
          (func $one (type $leaf) (call_indirect (type $leaf) (local.get 0) (i32.const 3)))
          (func $two (type $leaf) (i32.wrap_i64 (local.get 0)))
          (func (export "run") (result i32) (call $again (i32.const 1500)))"#,
    ),
    (
        "branches to the function's own label after a call of itself",
        r#"(global $g (mut i32) (i32.const 0))
          (func $f (param $n i32)
            (br_if 0 (i32.eqz (local.get $n)))
            (call $f (i32.sub (local.get $n) (i32.const 1)))
            (global.set $g (i32.add (global.get $g) (local.get $n)))
            (block (br_table 0 1 0 1 1 (i32.and (local.get $n) (i32.const 3))))
            (global.set $g (i32.xor (global.get $g) (i32.const 77))))
          (func (export "run") (result i32) (call $f (i32.const 100)) (global.get $g))"#,
    ),
    (
        "ranges of memory",
        r#"(memory (export "memory") 20)
          (data $passive "0123456789abcdef")
          (func (export "fill") (memory.fill (i32.const 3) (i32.const 7) (i32.const 1200000)))
          (func (export "up") (memory.copy (i32.const 100) (i32.const 0) (i32.const 1000000)))
          (func (export "down") (memory.copy (i32.const 0) (i32.const 100) (i32.const 1000000)))
          (func (export "same") (memory.copy (i32.const 50) (i32.const 50) (i32.const 1000000)))
          (func (export "init") (memory.init $passive (i32.const 9) (i32.const 2) (i32.const 10)))
          (func (export "grow") (result i32) (memory.grow (i32.const 2)))
          (func (export "fill outside") (memory.fill (i32.const 9) (i32.const 1) (i32.const -9)))
          (func (export "copy to outside") (memory.copy (i32.const 1300000) (i32.const 0) (i32.const 900000)))
          (func (export "copy from outside") (memory.copy (i32.const 0) (i32.const 1300000) (i32.const 900000)))
          (func (export "nothing") (memory.fill (i32.const 65536) (i32.const 1) (i32.const 0)))"#,
    ),
    (
        "ranges of tables",
        r#"(table $t (export "t") 50 60 funcref) (elem $e func $f $f)
          (func $f)
          (func (export "fill") (table.fill $t (i32.const 1) (ref.func $f) (i32.const 30)))
          (func (export "copy") (table.copy $t $t (i32.const 5) (i32.const 0) (i32.const 20)))
          (func (export "init") (table.init $t $e (i32.const 5) (i32.const 0) (i32.const 2)))
          (func (export "grow") (result i32) (table.grow $t (ref.null func) (i32.const 5)))
          (func (export "outside") (table.fill $t (i32.const 50) (ref.func $f) (i32.const 30)))"#,
    ),
    (
        "a start function",
        r#"(global $g (export "g") (mut i32) (i32.const 0)) (start $s)
          (func $s (local $i i32) (loop $next
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br_if $next (i32.lt_u (local.get $i) (i32.const 1000))))
            (global.set $g (local.get $i)))
          (func (export "run") (result i32) (global.get $g))"#,
    ),
    (
        "dead code",
        r#"(func (export "run") (result i32)
            (block (br 0) (loop (br 0)) (if (i32.const 1) (then (nop)) (else (nop))))
            (return (i32.const 1))
            (loop $l (br_if $l (i32.const 1)) (block (br_table 0 1 (i32.const 0)))) unreachable)"#,
    ),
    (
        "arms of very different length",
        r#"(func (export "run") (result i32) (local $i i32) (local $n i32)
            (loop $next
                (if (i32.eqz (i32.and (local.get $i) (i32.const 255))) (then
                    (local.set $n (i32.add (i32.add (i32.add (i32.add (i32.add (i32.add (i32.add
                        (i32.add (i32.add (i32.add (local.get $n) (i32.const 1)) (i32.const 2))
                        (i32.const 3)) (i32.const 4)) (i32.const 5)) (i32.const 6)) (i32.const 7))
                        (i32.const 8)) (i32.const 9)) (i32.const 10)))))
                (local.set $i (i32.add (local.get $i) (i32.const 1)))
                (br_if $next (i32.lt_u (local.get $i) (i32.const 5000))))
            (local.get $n))"#,
    ),
];

pub(super) fn kernel(body: &str) -> Vec<u8> {
    wat::parse_str(format!("(module {body})")).expect("the kernel is well-formed")
}
