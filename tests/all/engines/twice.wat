;; Runs any command twice, and then traps: nothing of it may be left.
(module
  (import "ferrite" "arg" (func $arg (param i32 i32 i32) (result i32)))
  (import "ferrite" "call" (func $call (param i32 i32 i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  ;; The first argument is its name, the second its other words as a RESP array.
  (func $command (param $name i32) (param $words i32)
    (drop (call $call (i32.const 0) (local.get $name) (i32.const 1024) (local.get $words)
      (i32.const 4096) (i32.const 1024))))
  (func (export "run") (local $name i32) (local $words i32)
    (local.set $name (call $arg (i32.const 0) (i32.const 0) (i32.const 1024)))
    (local.set $words (call $arg (i32.const 1) (i32.const 1024) (i32.const 3072)))
    (call $command (local.get $name) (local.get $words))
    (call $command (local.get $name) (local.get $words))
    unreachable))
