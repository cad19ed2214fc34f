(module
  (import "ferrite" "key" (func $key (param i32 i32 i32) (result i32)))
  (import "ferrite" "incr_by" (func $incr_by (param i32 i32 i64 i32) (result i32)))
  (import "ferrite" "reply_int" (func $int (param i64)))
  (memory (export "memory") 1)
  (func (export "run") (local $len i32)
    (local.set $len (call $key (i32.const 0) (i32.const 64) (i32.const 1024)))
    (drop (call $incr_by (i32.const 64) (local.get $len) (i64.const 3) (i32.const 8)))
    (call $int (i64.load (i32.const 8)))))
