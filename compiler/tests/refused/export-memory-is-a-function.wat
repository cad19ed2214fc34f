(module
  (func (export "memory"))
  (func (export "run")))
