;; Adds 1 to the integer at each key that SCAN shows for n:*, step by step, and replies with the number of keys
;; that were shown.
(module
  (import "ferrite" "call" (func $call (param i32 i32 i32 i32 i32 i32) (result i32)))
  (import "ferrite" "incr_by" (func $incr_by (param i32 i32 i64 i32) (result i32)))
  (import "ferrite" "reply_int" (func $reply_int (param i64)))
  (memory (export "memory") 2)
  (data (i32.const 0) "SCAN")
  (data (i32.const 8) "*5\r\n$")
  (data (i32.const 32) "\r\n$5\r\nMATCH\r\n$3\r\nn:*\r\n$5\r\nCOUNT\r\n$1\r\n7\r\n")
  ;; The cursor.
  (data (i32.const 128) "0")
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
  ;; Writes at 256 and after, and moves on.
  (func $byte (param $byte i32)
    (i32.store8 (global.get $at) (local.get $byte))
    (global.set $at (i32.add (global.get $at) (i32.const 1))))
  (func $copy (param $from i32) (param $len i32)
    (memory.copy (global.get $at) (local.get $from) (local.get $len))
    (global.set $at (i32.add (global.get $at) (local.get $len))))
  (func (export "run") (local $cursor i32) (local $left i32) (local $len i32) (local $shown i64)
    (local.set $cursor (i32.const 1))
    (loop $step
      (global.set $at (i32.const 256))
      (call $copy (i32.const 8) (i32.const 5))
      (if (i32.ge_u (local.get $cursor) (i32.const 10))
        (then (call $byte (i32.add (i32.const 48) (i32.div_u (local.get $cursor) (i32.const 10))))))
      (call $byte (i32.add (i32.const 48) (i32.rem_u (local.get $cursor) (i32.const 10))))
      (call $byte (i32.const 13))
      (call $byte (i32.const 10))
      (call $copy (i32.const 128) (local.get $cursor))
      (call $copy (i32.const 32) (i32.const 40))
      (drop (call $call (i32.const 0) (i32.const 4) (i32.const 256) (i32.sub (global.get $at) (i32.const 256))
        (i32.const 1024) (i32.const 60000)))
      (if (i32.ne (i32.load8_u (i32.const 1024)) (i32.const 42)) (then unreachable))
      (global.set $at (i32.const 1024))
      (drop (call $number))
      (local.set $cursor (call $number))
      (memory.copy (i32.const 128) (global.get $at) (local.get $cursor))
      (global.set $at (i32.add (global.get $at) (i32.add (local.get $cursor) (i32.const 2))))
      (local.set $left (call $number))
      (block $done
        (loop $next
          (br_if $done (i32.eqz (local.get $left)))
          (local.set $len (call $number))
          (if (call $incr_by (global.get $at) (local.get $len) (i64.const 1) (i32.const 512)) (then unreachable))
          (global.set $at (i32.add (global.get $at) (i32.add (local.get $len) (i32.const 2))))
          (local.set $left (i32.sub (local.get $left) (i32.const 1)))
          (local.set $shown (i64.add (local.get $shown) (i64.const 1)))
          (br $next)))
      (br_if $step (i32.or (i32.ne (local.get $cursor) (i32.const 1))
        (i32.ne (i32.load8_u (i32.const 128)) (i32.const 48)))))
    (call $reply_int (local.get $shown))))
