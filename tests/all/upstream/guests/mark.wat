;; Replies with the values of its keys, and appends its first argument and a comma to those for which the
;; further arguments say "w".
(module
  (import "ferrite" "key_count" (func $key_count (result i32)))
  (import "ferrite" "key" (func $key (param i32 i32 i32) (result i32)))
  (import "ferrite" "arg" (func $arg (param i32 i32 i32) (result i32)))
  (import "ferrite" "get" (func $get (param i32 i32 i32 i32) (result i32)))
  (import "ferrite" "set" (func $set (param i32 i32 i32 i32 i32 i64) (result i32)))
  (import "ferrite" "reply_array" (func $array (param i32)))
  (import "ferrite" "reply_bulk" (func $bulk (param i32 i32)))
  (memory (export "memory") 4)
  (func (export "run") (local $index i32) (local $number i32) (local $klen i32) (local $len i32)
    (local.set $number (call $arg (i32.const 0) (i32.const 1024) (i32.const 64)))
    (call $array (call $key_count))
    (block $done
      (loop $more
        (br_if $done (i32.ge_u (local.get $index) (call $key_count)))
        (local.set $klen (call $key (local.get $index) (i32.const 64) (i32.const 256)))
        (local.set $len (call $get (i32.const 64) (local.get $klen) (i32.const 4096) (i32.const 200000)))
        (if (i32.le_s (local.get $len) (i32.const -16)) (then unreachable))
        (if (i32.lt_s (local.get $len) (i32.const 0)) (then (local.set $len (i32.const 0))))
        (call $bulk (i32.const 4096) (local.get $len))
        (local.set $index (i32.add (local.get $index) (i32.const 1)))
        (drop (call $arg (local.get $index) (i32.const 2048) (i32.const 1)))
        (if (i32.eq (i32.load8_u (i32.const 2048)) (i32.const 119)) (then
          (memory.copy (i32.add (i32.const 4096) (local.get $len)) (i32.const 1024) (local.get $number))
          (local.set $len (i32.add (local.get $len) (local.get $number)))
          (i32.store8 (i32.add (i32.const 4096) (local.get $len)) (i32.const 44))
          (if (call $set (i32.const 64) (local.get $klen) (i32.const 4096) (i32.add (local.get $len) (i32.const 1)) (i32.const 0) (i64.const -1))
            (then unreachable))))
        (br $more)))))
