(component
  (core module $m
    (import "" "wait" (func (param i32)))
    (func (export "run")))
  (core func $wait (canon subtask.drop))
  (core instance $m (instantiate $m (with "" (instance (export "wait" (func $wait))))))
  (func (export "run") (canon lift (core func $m "run"))))
