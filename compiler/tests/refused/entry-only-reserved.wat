(module
  (memory (export "memory") 1)
  (func (export "alloc") (param i32) (result i32) (i32.const 0))
  (func (export "__wasm_call_ctors"))
  (func (export "malloc") (param i32) (result i32) (i32.const 0)))
