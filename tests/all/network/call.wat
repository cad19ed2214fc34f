;; Makes the request that is its argument, and replies with the response.
(module
  (import "ferrite" "arg" (func $arg (param i32 i32 i32) (result i32)))
  (import "ferrite" "http" (func $http (param i32 i32 i32 i32) (result i32)))
  (import "ferrite" "incr_by" (func $incr_by (param i32 i32 i64 i32) (result i32)))
  (import "ferrite" "reply_int" (func $reply_int (param i64)))
  (import "ferrite" "reply_bulk" (func $reply_bulk (param i32 i32)))
  (memory (export "memory") 4)
  (data (i32.const 0) "n")
  (func (export "run") (local $len i32)
    (drop (call $incr_by (i32.const 0) (i32.const 1) (i64.const 1) (i32.const 8)))
    (local.set $len
      (call $http
        (i32.const 1024) (call $arg (i32.const 0) (i32.const 1024) (i32.const 65536))
        (i32.const 131072) (i32.const 131072)))
    (if (i32.lt_s (local.get $len) (i32.const 0))
      (then (call $reply_int (i64.extend_i32_s (local.get $len))))
      (else (call $reply_bulk (i32.const 131072) (local.get $len))))))
