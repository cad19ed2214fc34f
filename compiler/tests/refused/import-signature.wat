(module
  (import "ferrite" "get" (func (param i32 i32) (result i64)))
  (memory (export "memory") 1)
  (func (export "run")))
