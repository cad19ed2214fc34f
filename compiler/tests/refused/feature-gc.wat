(module
  (type $pair (struct (field i32) (field i32)))
  (func (export "run") (drop (struct.new_default $pair))))
