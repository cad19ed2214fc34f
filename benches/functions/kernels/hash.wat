;; Hashes a buffer by FNV-1a and by a mixing of words, and returns both in one number.
(module
  (memory (export "memory") 2)
  (func $bytes (param $len i32) (result i32) (local $at i32) (local $hash i32)
    (local.set $hash (i32.const 0x811c9dc5))
    (loop $next
      (local.set $hash (i32.mul
        (i32.xor (local.get $hash) (i32.load8_u (local.get $at))) (i32.const 0x01000193)))
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (br_if $next (i32.lt_u (local.get $at) (local.get $len))))
    (local.get $hash))
  (func $words (param $len i32) (result i64) (local $at i32) (local $hash i64)
    (local.set $hash (i64.const 0x9e3779b97f4a7c15))
    (loop $next
      (local.set $hash (i64.rotl (i64.xor (local.get $hash) (i64.load (local.get $at))) (i64.const 27)))
      (local.set $hash (i64.mul (local.get $hash) (i64.const 0xbf58476d1ce4e5b9)))
      (local.set $at (i32.add (local.get $at) (i32.const 8)))
      (br_if $next (i32.lt_u (local.get $at) (local.get $len))))
    (i64.xor (local.get $hash) (i64.shr_u (local.get $hash) (i64.const 31))))
  (func (export "run") (param $rounds i32) (result i64) (local $all i64)
    (loop $again
      (i32.store (i32.const 0) (local.get $rounds))
      (local.set $all (i64.add (i64.rotl (local.get $all) (i64.const 7))
        (i64.xor (call $words (i32.const 65536)) (i64.extend_i32_u (call $bytes (i32.const 65536))))))
      (local.set $rounds (i32.sub (local.get $rounds) (i32.const 1)))
      (br_if $again (i32.gt_s (local.get $rounds) (i32.const 0))))
    (local.get $all)))
