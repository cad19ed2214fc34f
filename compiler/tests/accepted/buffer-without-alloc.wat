;; Without `alloc`, the same signature is one of numbers.
(module
  (memory (export "memory") 1)
  (func (export "pack") (param i32 i32) (result i64) (i64.const 0)))
