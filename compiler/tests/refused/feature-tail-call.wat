(module
  (func $again (return_call $again))
  (func (export "run") (call $again)))
