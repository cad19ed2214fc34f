(component
  (core module $m
    (memory (export "memory") 1)
    (func (export "name") (result i32) (i32.const 0)))
  (core instance $m (instantiate $m))
  (func (export "name") (result string) (canon lift (core func $m "name") (memory $m "memory"))))
