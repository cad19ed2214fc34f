;; The second inner component calls the first one.
(component
  (component $first
    (core module $m (func (export "seven") (result i32) (i32.const 7)))
    (core instance $m (instantiate $m))
    (func (export "seven") (result u32) (canon lift (core func $m "seven"))))
  (component $second
    (import "seven" (func $seven (result u32)))
    (core func $lowered (canon lower (func $seven)))
    (core module $m
      (import "first" "seven" (func $seven (result i32)))
      (func (export "fourteen") (result i32) (i32.mul (call $seven) (i32.const 2))))
    (core instance $m (instantiate $m (with "first" (instance (export "seven" (func $lowered))))))
    (func (export "fourteen") (result u32) (canon lift (core func $m "fourteen"))))
  (instance $first (instantiate $first))
  (instance $second (instantiate $second (with "seven" (func $first "seven"))))
  (export "fourteen" (func $second "fourteen")))
