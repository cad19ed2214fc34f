(module
  (func (export "run") (call $missing)))
