;; Entries for calls on all nodes.
(module
  (import "ferrite" "arg" (func $arg (param i32 i32 i32) (result i32)))
  (import "ferrite" "arg_count" (func $arg_count (result i32)))
  (import "ferrite" "get" (func $get (param i32 i32 i32 i32) (result i32)))
  (import "ferrite" "set" (func $set (param i32 i32 i32 i32 i32 i64) (result i32)))
  (import "ferrite" "call" (func $call (param i32 i32 i32 i32 i32 i32) (result i32)))
  (import "ferrite" "reply_int" (func $int (param i64)))
  (import "ferrite" "reply_bulk" (func $bulk (param i32 i32)))
  (import "ferrite" "reply_error" (func $error (param i32 i32)))
  (memory (export "memory") 48)
  (data (i32.const 0) "DBSIZE")
  (data (i32.const 16) "BROKEN on purpose")

  ;; The decimal digits from $at to $end; other characters are passed over.
  (func $number (param $at i32) (param $end i32) (result i64) (local $sum i64) (local $digit i32)
    (block $done
      (loop $next
        (br_if $done (i32.ge_u (local.get $at) (local.get $end)))
        (local.set $digit (i32.sub (i32.load8_u (local.get $at)) (i32.const 48)))
        (if (i32.lt_u (local.get $digit) (i32.const 10))
          (then (local.set $sum (i64.add (i64.mul (local.get $sum) (i64.const 10))
            (i64.extend_i32_u (local.get $digit))))))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (br $next)))
    (local.get $sum))

  ;; The keys of this node.
  (func $keys (result i64)
    (call $number (i32.const 1024) (i32.add (i32.const 1024)
      (call $call (i32.const 0) (i32.const 6) (i32.const 0) (i32.const 0) (i32.const 1024) (i32.const 64)))))

  (func (export "size") (call $int (call $keys)))

  ;; The sum of the arguments.
  (func (export "sum") (local $index i32) (local $sum i64)
    (block $done
      (loop $next
        (br_if $done (i32.ge_u (local.get $index) (call $arg_count)))
        (local.set $sum (i64.add (local.get $sum) (call $number (i32.const 1024) (i32.add (i32.const 1024)
          (call $arg (local.get $index) (i32.const 1024) (i32.const 64))))))
        (local.set $index (i32.add (local.get $index) (i32.const 1)))
        (br $next)))
    (call $int (local.get $sum)))

  ;; Never ends on a node with keys, and counts none on others.
  (func (export "hang") (if (i64.ne (call $keys) (i64.const 0)) (then (loop $again (br $again))))
    (call $int (i64.const 0)))

  ;; Fails on a node with keys.
  (func (export "fail")
    (if (i64.ne (call $keys) (i64.const 0)) (then (call $error (i32.const 16) (i32.const 17)) (return)))
    (call $int (i64.const 0)))

  ;; The status of a write that must be refused.
  (func (export "write")
    (call $int (i64.extend_i32_s (call $set (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 0) (i64.const -1)))))

  ;; The status of a read of the key that the argument names.
  (func (export "read") (local $len i32)
    (local.set $len (call $arg (i32.const 0) (i32.const 1024) (i32.const 64)))
    (call $int (i64.extend_i32_s (call $get (i32.const 1024) (local.get $len) (i32.const 2048) (i32.const 64)))))

  ;; As many bytes as the argument says.
  (func (export "bytes") (local $len i32)
    (local.set $len (call $arg (i32.const 0) (i32.const 1024) (i32.const 64)))
    (call $bulk (i32.const 4096) (i32.wrap_i64 (call $number (i32.const 1024) (i32.add (i32.const 1024) (local.get $len)))))))
