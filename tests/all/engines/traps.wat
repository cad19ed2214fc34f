;; Every way in which a function fails.
(module
  (memory (export "memory") 1)
  (func (export "memory_") (result i32) (i32.load (i32.const 0x7fffffff)))
  (func (export "division") (param i32) (result i32) (i32.div_u (i32.const 14) (local.get 0)))
  (func (export "unreachable") unreachable)
  (func $deep (export "deep") (result i32) (i32.add (i32.const 1) (call $deep)))
  (func (export "endless") (loop $again (br $again))))
