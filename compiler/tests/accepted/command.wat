;; Input is pulled, the reply is pushed; both spellings of the host's names.
(module
  (import "ferrite" "arg" (func (param i32 i32 i32) (result i32)))
  (import "env" "ferrite_reply_bulk" (func (param i32 i32)))
  (memory (export "memory") 2 16)
  (func (export "run"))
  (func (export "other"))
  (func (export "_initialize")))
