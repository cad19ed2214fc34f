;; Adds 1 to the integer at each key that KEYS lists for the first argument, and replies with their number.
(module
  (import "ferrite" "arg" (func $arg (param i32 i32 i32) (result i32)))
  (import "ferrite" "call" (func $call (param i32 i32 i32 i32 i32 i32) (result i32)))
  (import "ferrite" "incr_by" (func $incr_by (param i32 i32 i64 i32) (result i32)))
  (import "ferrite" "reply_int" (func $reply_int (param i64)))
  (memory (export "memory") 2)
  (data (i32.const 0) "KEYS")
  (data (i32.const 16) "*1\r\n$")
  (global $at (mut i32) (i32.const 0))
  ;; Reads a number behind one byte, and its line's end.
  (func $number (result i32) (local $number i32) (local $byte i32)
    (loop $more
      (global.set $at (i32.add (global.get $at) (i32.const 1)))
      (local.set $byte (i32.load8_u (global.get $at)))
      (if (i32.ne (local.get $byte) (i32.const 13)) (then
        (local.set $number
          (i32.add (i32.mul (local.get $number) (i32.const 10)) (i32.sub (local.get $byte) (i32.const 48))))
        (br $more))))
    (global.set $at (i32.add (global.get $at) (i32.const 2)))
    (local.get $number))
  (func (export "run") (local $len i32) (local $count i32) (local $left i32)
    ;; An array of one bulk string, of less than ten bytes.
    (local.set $len (call $arg (i32.const 0) (i32.const 24) (i32.const 9)))
    (i32.store8 (i32.const 21) (i32.add (i32.const 48) (local.get $len)))
    (i32.store16 (i32.const 22) (i32.const 0x0a0d))
    (i32.store16 (i32.add (i32.const 24) (local.get $len)) (i32.const 0x0a0d))
    (drop (call $call (i32.const 0) (i32.const 4) (i32.const 16) (i32.add (i32.const 10) (local.get $len))
      (i32.const 1024) (i32.const 60000)))
    (if (i32.ne (i32.load8_u (i32.const 1024)) (i32.const 42)) (then unreachable))
    (global.set $at (i32.const 1024))
    (local.set $count (call $number))
    (local.set $left (local.get $count))
    (block $done
      (loop $next
        (br_if $done (i32.eqz (local.get $left)))
        (local.set $len (call $number))
        (if (call $incr_by (global.get $at) (local.get $len) (i64.const 1) (i32.const 512)) (then unreachable))
        (global.set $at (i32.add (global.get $at) (i32.add (local.get $len) (i32.const 2))))
        (local.set $left (i32.sub (local.get $left) (i32.const 1)))
        (br $next)))
    (call $reply_int (i64.extend_i32_u (local.get $count)))))
