;; Counts the primes below a bound, by Eratosthenes' sieve in memory.
(module
  (memory (export "memory") 16)
  (func (export "run") (param $bound i32) (result i32) (local $at i32) (local $step i32) (local $count i32)
    (if (i32.gt_u (local.get $bound) (i32.const 1000000)) (then (local.set $bound (i32.const 1000000))))
    (memory.fill (i32.const 0) (i32.const 0) (local.get $bound))
    (local.set $at (i32.const 2))
    (block $end
      (loop $next
        (br_if $end (i32.ge_u (local.get $at) (local.get $bound)))
        (if (i32.eqz (i32.load8_u (local.get $at)))
          (then
            (local.set $count (i32.add (local.get $count) (i32.const 1)))
            (local.set $step (i32.mul (local.get $at) (local.get $at)))
            (block $marked
              (br_if $marked (i32.gt_u (local.get $at) (i32.const 1000)))
              (loop $mark
                (br_if $marked (i32.ge_u (local.get $step) (local.get $bound)))
                (i32.store8 (local.get $step) (i32.const 1))
                (local.set $step (i32.add (local.get $step) (local.get $at)))
                (br $mark)))))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (br $next)))
    (local.get $count)))
