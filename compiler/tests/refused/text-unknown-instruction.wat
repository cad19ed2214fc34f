(module
  (func (export "run")
    (i32.launch)))
