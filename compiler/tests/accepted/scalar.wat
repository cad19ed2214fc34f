;; Only numbers in and out, of every number type.
(module $numbers
  (func (export "add1") (param i64) (result i64)
    (i64.add (local.get 0) (i64.const 1)))
  (func (export "mix") (param i32 i64 f32 f64) (result f64 f32)
    (local.get 3) (local.get 2)))
