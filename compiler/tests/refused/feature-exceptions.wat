(module
  (tag $oops)
  (func (export "run") (throw $oops)))
