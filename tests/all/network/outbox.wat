;; Adds the request that is its first argument to its commit, and replies with the key.
(module
  (import "ferrite" "arg" (func $arg (param i32 i32 i32) (result i32)))
  (import "ferrite" "http" (func $http (param i32 i32 i32 i32) (result i32)))
  (import "ferrite" "after_commit" (func $after_commit (param i32 i32 i32 i32) (result i32)))
  (import "ferrite" "config" (func $config (param i32 i32 i32 i32) (result i32)))
  (import "ferrite" "incr_by" (func $incr_by (param i32 i32 i64 i32) (result i32)))
  (import "ferrite" "reply_int" (func $reply_int (param i64)))
  (import "ferrite" "reply_bulk" (func $reply_bulk (param i32 i32)))
  (memory (export "memory") 4)
  (data (i32.const 0) "n")
  (func $count
    (drop (call $incr_by (i32.const 0) (i32.const 1) (i64.const 1) (i32.const 8))))
  (func $add (result i32)
    (call $after_commit
      (i32.const 1024) (call $arg (i32.const 0) (i32.const 1024) (i32.const 65536))
      (i32.const 131072) (i32.const 131072)))
  (func $reply (param $len i32)
    (if (i32.lt_s (local.get $len) (i32.const 0))
      (then (call $reply_int (i64.extend_i32_s (local.get $len))))
      (else (call $reply_bulk (i32.const 131072) (local.get $len)))))
  (func (export "run") (call $count) (call $reply (call $add)))
  ;; Only adds the request, and reads no data.
  (func (export "only") (call $reply (call $add)))
  (func (export "fail") (call $count) (drop (call $add)) (unreachable))
  ;; Waits for the response to its second argument in between.
  (func (export "slow")
    (call $count)
    (drop (call $http
      (i32.const 1024) (call $arg (i32.const 1) (i32.const 1024) (i32.const 65536))
      (i32.const 131072) (i32.const 131072)))
    (call $reply (call $add)))
  ;; Replies with the value of the configuration whose name is its argument.
  (func (export "config")
    (call $reply (call $config
      (i32.const 1024) (call $arg (i32.const 0) (i32.const 1024) (i32.const 65536))
      (i32.const 131072) (i32.const 131072)))))
