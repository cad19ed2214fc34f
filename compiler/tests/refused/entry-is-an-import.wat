(module
  (import "ferrite" "time_millis" (func $now (result i64)))
  (export "now" (func $now)))
