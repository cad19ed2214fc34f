;; Adds the numbers from 1 to ARGS[1]: what the compiled code itself costs.
(module
  (func (export "run") (param $count i64) (result i64)
    (local $sum i64)
    (block $done
      (loop $next
        (br_if $done (i64.eqz (local.get $count)))
        (local.set $sum (i64.add (local.get $sum) (local.get $count)))
        (local.set $count (i64.sub (local.get $count) (i64.const 1)))
        (br $next)))
    (local.get $sum)))
