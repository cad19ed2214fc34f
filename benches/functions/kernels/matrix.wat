;; Multiplies two square matrices of doubles, and returns the sum of the product.
(module
  (memory (export "memory") 32)
  (func $place (param $matrix i32) (param $row i32) (param $column i32) (result i32)
    (i32.add
      (i32.shl (local.get $matrix) (i32.const 18))
      (i32.shl (i32.add (i32.shl (local.get $row) (i32.const 7)) (local.get $column)) (i32.const 3))))
  (func $fill (param $matrix i32) (param $seed f64) (local $row i32) (local $column i32)
    (loop $rows
      (local.set $column (i32.const 0))
      (loop $columns
        (f64.store
          (call $place (local.get $matrix) (local.get $row) (local.get $column))
          (f64.mul (local.get $seed)
            (f64.convert_i32_u (i32.xor (local.get $row) (local.get $column)))))
        (local.set $column (i32.add (local.get $column) (i32.const 1)))
        (br_if $columns (i32.lt_u (local.get $column) (i32.const 128))))
      (local.set $row (i32.add (local.get $row) (i32.const 1)))
      (br_if $rows (i32.lt_u (local.get $row) (i32.const 128)))))
  (func (export "run") (result f64) (local $row i32) (local $column i32) (local $at i32) (local $sum f64) (local $all f64)
    (call $fill (i32.const 0) (f64.const 0.5))
    (call $fill (i32.const 1) (f64.const 0.25))
    (loop $rows
      (local.set $column (i32.const 0))
      (loop $columns
        (local.set $at (i32.const 0))
        (local.set $sum (f64.const 0))
        (loop $terms
          (local.set $sum (f64.add (local.get $sum) (f64.mul
            (f64.load (call $place (i32.const 0) (local.get $row) (local.get $at)))
            (f64.load (call $place (i32.const 1) (local.get $at) (local.get $column))))))
          (local.set $at (i32.add (local.get $at) (i32.const 1)))
          (br_if $terms (i32.lt_u (local.get $at) (i32.const 128))))
        (local.set $all (f64.add (local.get $all) (local.get $sum)))
        (local.set $column (i32.add (local.get $column) (i32.const 1)))
        (br_if $columns (i32.lt_u (local.get $column) (i32.const 128))))
      (local.set $row (i32.add (local.get $row) (i32.const 1)))
      (br_if $rows (i32.lt_u (local.get $row) (i32.const 128))))
    (local.get $all)))
