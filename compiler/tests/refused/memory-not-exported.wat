(module
  (import "ferrite" "key_count" (func (result i32)))
  (import "ferrite" "reply_bulk" (func (param i32 i32)))
  (memory 1)
  (func (export "run")))
