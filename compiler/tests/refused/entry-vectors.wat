(module
  (func (export "a") (param v128))
  (func (export "b") (result funcref) (ref.null func))
  (func (export "c") (param v128))
  (func (export "d") (param v128))
  (func (export "e") (param v128))
  (func (export "f") (param v128)))
