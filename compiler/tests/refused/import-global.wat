(module
  (import "env" "__memory_base" (global i32))
  (func (export "run")))
