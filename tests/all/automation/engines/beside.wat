;; Appends argument 4, the new value of the key that an event is of, to the list of this key's name with ".log"
;; behind it. The key has at most 5 bytes, the value at most 9.
(module
  (import "ferrite" "key" (func $key (param i32 i32 i32) (result i32)))
  (import "ferrite" "arg" (func $arg (param i32 i32 i32) (result i32)))
  (import "ferrite" "call" (func $call (param i32 i32 i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "RPUSH.log*2\0d\0a")
  (global $to (mut i32) (i32.const 0))

  (func $byte (param $byte i32)
    (i32.store8 (global.get $to) (local.get $byte))
    (global.set $to (i32.add (global.get $to) (i32.const 1))))
  ;; Writes a bulk string of less than 10 bytes.
  (func $text (param $from i32) (param $len i32)
    (call $byte (i32.const 36))
    (call $byte (i32.add (i32.const 48) (local.get $len)))
    (call $byte (i32.const 13))
    (call $byte (i32.const 10))
    (memory.copy (global.get $to) (local.get $from) (local.get $len))
    (global.set $to (i32.add (global.get $to) (local.get $len)))
    (call $byte (i32.const 13))
    (call $byte (i32.const 10)))

  (func (export "run") (local $length i32)
    (memory.copy (i32.const 1024) (i32.const 9) (i32.const 4))
    (global.set $to (i32.const 1028))
    (local.set $length (call $key (i32.const 0) (i32.const 256) (i32.const 5)))
    (memory.copy (i32.add (i32.const 256) (local.get $length)) (i32.const 5) (i32.const 4))
    (call $text (i32.const 256) (i32.add (local.get $length) (i32.const 4)))
    (local.set $length (call $arg (i32.const 4) (i32.const 512) (i32.const 9)))
    (call $text (i32.const 512) (local.get $length))
    (if (i32.lt_s (call $call (i32.const 0) (i32.const 5) (i32.const 1024)
        (i32.sub (global.get $to) (i32.const 1024)) (i32.const 2048) (i32.const 256))
        (i32.const 0))
      (then unreachable))
    ;; An error instead of a number: the event is tried again.
    (if (i32.eq (i32.load8_u (i32.const 2048)) (i32.const 45)) (then unreachable))))
