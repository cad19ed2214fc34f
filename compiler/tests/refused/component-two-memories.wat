;; A library with a memory of its own.
(component
  (import "ferrite:function/types@0.1.0" (instance $types
    (type $bytes (list u8))
    (type $strings (list $bytes))
    (type $input (record (field "keys" $strings) (field "args" $strings)))
    (export "input" (type (eq $input)))
    (type $item (variant (case "null") (case "boolean" bool) (case "integer" s64) (case "double" f64)
      (case "bulk" $bytes) (case "simple" string) (case "error" string) (case "array" u32)
      (case "mapping" u32)))
    (export "item" (type (eq $item)))))
  (alias export $types "input" (type $input))
  (alias export $types "item" (type $item))
  (core module $library (memory (export "memory") 1))
  (core module $main
    (memory (export "memory") 1)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 0))
    (func (export "run") (param i32 i32 i32 i32) (result i32) (i32.const 0)))
  (core instance (instantiate $library))
  (core instance $main (instantiate $main))
  (type $reply (result (list $item) (error string)))
  (func (export "run-it") (param "input" $input) (result $reply)
    (canon lift (core func $main "run") (memory $main "memory") (realloc (func $main "realloc")))))
