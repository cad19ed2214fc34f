(module
  (type $t (func))
  (func $f)
  (elem declare func $f)
  (func (export "run") (call_ref $t (ref.func $f))))
