(module
  (func (export "run")
