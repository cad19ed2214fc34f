(module
  (import "env" "get" (func (param i32 i32 i32 i32) (result i32)))
  (func (export "run")))
