;; Calls small functions from small functions, and returns what they add up to.
(module
  (func $one (param $number i64) (result i64)
    (i64.add (i64.mul (local.get $number) (i64.const 3)) (i64.const 1)))
  (func $two (param $number i64) (result i64)
    (if (result i64) (i64.eqz (i64.and (local.get $number) (i64.const 1)))
      (then (call $one (i64.shr_u (local.get $number) (i64.const 1))))
      (else (call $one (local.get $number)))))
  (func $four (param $number i64) (result i64)
    (i64.xor (call $two (local.get $number)) (call $two (i64.add (local.get $number) (i64.const 7)))))
  (func (export "run") (param $count i64) (result i64)
    (local $sum i64)
    (loop $next
      (local.set $sum (i64.add (local.get $sum) (call $four (local.get $count))))
      (local.set $count (i64.sub (local.get $count) (i64.const 1)))
      (br_if $next (i64.ne (local.get $count) (i64.const 0))))
    (local.get $sum)))
