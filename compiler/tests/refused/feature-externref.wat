(module
  (func (export "run") (param externref)))
