;; Two core instances that share one memory, the allocator of the first, and a chain of imports
;; through both; `touch` is an entry, `version` is none.
(component
  (import "ferrite:function/types@0.1.0" (instance $types
    (type $bytes (list u8))
    (type $strings (list $bytes))
    (type $input (record (field "keys" $strings) (field "args" $strings)))
    (export "input" (type (eq $input)))
    (type $item (variant
      (case "null")
      (case "boolean" bool)
      (case "integer" s64)
      (case "double" f64)
      (case "bulk" $bytes)
      (case "simple" string)
      (case "error" string)
      (case "array" u32)
      (case "mapping" u32)))
    (export "item" (type (eq $item)))))
  (import "ferrite:function/data@0.1.0" (instance $data
    (type $failure (variant
      (case "denied") (case "read-only") (case "wrong-type") (case "invalid") (case "limit") (case "store")))
    (export "failure" (type $named (eq $failure)))
    (type $bytes (list u8))
    (type $maybe (option $bytes))
    (type $got (result $maybe (error $named)))
    (export "get" (func (param "key" $bytes) (result $got)))))
  (import "wasi:cli/stdout@0.2.3" (instance $stdout
    (export "output-stream" (type $stream (sub resource)))
    (export "get-stdout" (func (result (own $stream))))))
  (import "wasi:sockets/instance-network@0.2.0" (instance $network
    (export "network" (type $network (sub resource)))
    (export "instance-network" (func (result (own $network))))))
  (alias export $types "input" (type $input))
  (alias export $types "item" (type $item))
  (alias export $stdout "output-stream" (type $stream))

  (core module $libc
    (memory (export "memory") 2)
    (global $next (mut i32) (i32.const 65536))
    (global $never-set (export "base") (mut i32) (i32.const 16))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (global.set $next (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
      (global.get $next)
      (global.set $next (i32.add (global.get $next) (local.get 3)))))
  (core instance $libc (instantiate $libc))
  (alias core export $libc "memory" (core memory $memory))
  (alias core export $libc "realloc" (core func $realloc))
  (core func $get (canon lower (func $data "get") (memory $memory) (realloc $realloc)))
  (core func $get-stdout (canon lower (func $stdout "get-stdout")))
  (core func $instance-network (canon lower (func $network "instance-network")))
  (core func $drop (canon resource.drop $stream))

  (core module $main
    (import "libc" "memory" (memory 1))
    (import "libc" "base" (global $base (mut i32)))
    (import "host" "get" (func $get (param i32 i32 i32)))
    (import "host" "get-stdout" (func $get-stdout (result i32)))
    (import "host" "instance-network" (func $instance-network (result i32)))
    (import "host" "drop" (func $drop (param i32)))
    (import "libc" "realloc" (func $realloc (param i32 i32 i32 i32) (result i32)))
    (table funcref (elem $instance-network))
    (data (i32.const 8) "touched!")
    ;; Reads the first key into an item at 96, and names that as the one item of the result at 64.
    (func (export "touch") (param $keys i32) (param i32 i32 i32) (result i32)
      (call $drop (call $get-stdout))
      (call $get
        (i32.load (local.get $keys))
        (i32.load offset=4 (local.get $keys))
        (global.get $base))
      ;; ok at 16, some at 20, the bytes at 24
      (if (i32.load8_u (i32.const 16))
        (then
          (i32.store8 (i32.const 96) (i32.const 5))
          (i32.store (i32.const 104) (i32.const 8))
          (i32.store (i32.const 108) (i32.const 8)))
        (else
          (if (i32.load8_u (i32.const 20))
            (then
              (i32.store8 (i32.const 96) (i32.const 4))
              (i64.store (i32.const 104) (i64.load (i32.const 24))))
            (else (i32.store8 (i32.const 96) (i32.const 0))))))
      (i32.store8 (i32.const 64) (i32.const 0))
      (i32.store (i32.const 68) (i32.const 96))
      (i32.store (i32.const 72) (i32.const 1))
      (i32.const 64))
    (func (export "touched") (param i32) (drop (call $realloc (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 1))))
    (func (export "connect") (param i32 i32 i32 i32) (result i32)
      (call_indirect (result i32) (i32.const 0)))
    (func (export "version") (result i32) (i32.const 7)))
  (core instance $main (instantiate $main
    (with "libc" (instance $libc))
    (with "host" (instance
      (export "get" (func $get))
      (export "get-stdout" (func $get-stdout))
      (export "instance-network" (func $instance-network))
      (export "drop" (func $drop))))))
  (type $reply (result (list $item) (error string)))
  (func (export "touch") (param "input" $input) (result $reply)
    (canon lift (core func $main "touch") (memory $memory) (realloc $realloc)
      (post-return (func $main "touched"))))
  (func (export "connect") (param "input" $input) (result $reply)
    (canon lift (core func $main "connect") (memory $memory) (realloc $realloc)))
  (func (export "version") (result u32) (canon lift (core func $main "version"))))
