(module
  (type $f (func))
  (type $c (cont $f))
  (func (export "run")))
