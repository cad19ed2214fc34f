;; Replies with the value of KEYS[1] and stores ARGS[1] in its place.
(module
  (import "ferrite" "key" (func $key (param i32 i32 i32) (result i32)))
  (import "ferrite" "arg" (func $arg (param i32 i32 i32) (result i32)))
  (import "ferrite" "get" (func $get (param i32 i32 i32 i32) (result i32)))
  (import "ferrite" "set" (func $set (param i32 i32 i32 i32 i32 i64) (result i32)))
  (import "ferrite" "reply_bulk" (func $reply_bulk (param i32 i32)))
  (import "ferrite" "reply_null" (func $reply_null))
  (import "ferrite" "reply_error" (func $reply_error (param i32 i32)))
  ;; The key at 0, the argument at 1024, the old value at 2048, a message at 4096.
  (memory (export "memory") 1)
  (data (i32.const 4096) "ERR the store refused")
  (func (export "run")
    (local $key_length i32) (local $arg_length i32) (local $old_length i32)
    (local.set $key_length (call $key (i32.const 0) (i32.const 0) (i32.const 1024)))
    (local.set $arg_length (call $arg (i32.const 0) (i32.const 1024) (i32.const 1024)))
    (local.set $old_length
      (call $get (i32.const 0) (local.get $key_length) (i32.const 2048) (i32.const 2048)))
    (if (i32.lt_s
          (call $set (i32.const 0) (local.get $key_length) (i32.const 1024) (local.get $arg_length)
            (i32.const 0) (i64.const -1))
          (i32.const 0))
      (then (call $reply_error (i32.const 4096) (i32.const 21)) (return)))
    (if (i32.lt_s (local.get $old_length) (i32.const 0))
      (then (call $reply_null))
      (else (call $reply_bulk (i32.const 2048) (local.get $old_length))))))
