;; compare_and_set: replaces a string where it is what the caller expects.
;;
;;   WASM.CALL compare_and_set KEYS config ARGS v1 v2
;;
;; replies true and writes v2 where the key holds v1; replies false and writes nothing where it
;; holds something else or does not exist.
;;
;; It is written by hand to show the guest ABI without any SDK: an entry of the command kind takes
;; nothing and returns nothing, pulls its input from the host and pushes its reply.
(module
  ;; Everything that the host offers comes from module "ferrite". Pointers and lengths are i32.
  (import "ferrite" "key_count" (func $key_count (result i32)))
  (import "ferrite" "arg_count" (func $arg_count (result i32)))
  (import "ferrite" "key" (func $key (param $index i32) (param $buf i32) (param $cap i32) (result i32)))
  (import "ferrite" "arg" (func $arg (param $index i32) (param $buf i32) (param $cap i32) (result i32)))
  (import "ferrite" "get"
    (func $get (param $key i32) (param $klen i32) (param $buf i32) (param $cap i32) (result i32)))
  (import "ferrite" "set"
    (func $set (param $key i32) (param $klen i32) (param $val i32) (param $vlen i32)
      (param $options i32) (param $ttl_ms i64) (result i32)))
  (import "ferrite" "reply_bool" (func $reply_bool (param $value i32)))
  (import "ferrite" "reply_error" (func $reply_error (param $ptr i32) (param $len i32)))

  ;; The host finds pointers in the memory of this name. Layout of its one page of 64 KiB:
  ;;       0  texts of errors
  ;;    1024  the key          (at most 4096 bytes)
  ;;    8192  the expected value    (at most 16384 bytes)
  ;;   24576  the new value         (at most 16384 bytes)
  ;;   40960  the value in the store (at most 16384 bytes)
  (memory (export "memory") 1 1)

  (data (i32.const 0) "ERR compare_and_set takes 1 key and 2 arguments")                      ;; 47 bytes
  (data (i32.const 64) "ERR compare_and_set: a key of at most 4096 bytes, values of at most 16384") ;; 73
  (data (i32.const 192) "WRONGTYPE Operation against a key holding the wrong kind of value")  ;; 65
  (data (i32.const 320) "NOPERM compare_and_set may not read or write this key")              ;; 53
  (data (i32.const 448) "ERR compare_and_set: the store failed")                              ;; 37

  ;; Whether two pieces of memory of one length hold the same bytes.
  (func $equal (param $left i32) (param $right i32) (param $len i32) (result i32)
    (loop $next
      (if (i32.eqz (local.get $len)) (then (return (i32.const 1))))
      (if (i32.ne (i32.load8_u (local.get $left)) (i32.load8_u (local.get $right)))
        (then (return (i32.const 0))))
      (local.set $left (i32.add (local.get $left) (i32.const 1)))
      (local.set $right (i32.add (local.get $right) (i32.const 1)))
      (local.set $len (i32.sub (local.get $len) (i32.const 1)))
      (br $next))
    (unreachable))

  ;; Replies the error that belongs to a status of the host. All errors are -16 or less.
  (func $fail (param $status i32)
    (if (i32.eq (local.get $status) (i32.const -18)) ;; WRONG_TYPE
      (then (call $reply_error (i32.const 192) (i32.const 65)) (return)))
    (if (i32.ge_s (local.get $status) (i32.const -17)) ;; DENIED, READ_ONLY
      (then (call $reply_error (i32.const 320) (i32.const 53)) (return)))
    (call $reply_error (i32.const 448) (i32.const 37)))

  (func (export "compare_and_set")
    (local $key_len i32) (local $expected_len i32) (local $new_len i32) (local $len i32)

    ;; Refuse any other number of keys and arguments.
    (if (i32.or
          (i32.ne (call $key_count) (i32.const 1))
          (i32.ne (call $arg_count) (i32.const 2)))
      (then (call $reply_error (i32.const 0) (i32.const 47)) (return)))

    ;; Pull them in. Each call copies what fits and returns the full length.
    (local.set $key_len (call $key (i32.const 0) (i32.const 1024) (i32.const 4096)))
    (local.set $expected_len (call $arg (i32.const 0) (i32.const 8192) (i32.const 16384)))
    (local.set $new_len (call $arg (i32.const 1) (i32.const 24576) (i32.const 16384)))
    (if (i32.or
          (i32.gt_u (local.get $key_len) (i32.const 4096))
          (i32.or
            (i32.gt_u (local.get $expected_len) (i32.const 16384))
            (i32.gt_u (local.get $new_len) (i32.const 16384))))
      (then (call $reply_error (i32.const 64) (i32.const 73)) (return)))

    ;; Read the value: its full length, -1 where there is none, or an error.
    (local.set $len
      (call $get (i32.const 1024) (local.get $key_len) (i32.const 40960) (i32.const 16384)))
    (if (i32.le_s (local.get $len) (i32.const -16))
      (then (call $fail (local.get $len)) (return)))

    ;; Another length, -1 included, is another value. Equal lengths fit the buffer.
    (if (i32.ne (local.get $len) (local.get $expected_len))
      (then (call $reply_bool (i32.const 0)) (return)))
    (if (i32.eqz (call $equal (i32.const 8192) (i32.const 40960) (local.get $len)))
      (then (call $reply_bool (i32.const 0)) (return)))

    ;; Write the new one: no options, no expiry (a negative ttl_ms).
    (local.set $len
      (call $set (i32.const 1024) (local.get $key_len) (i32.const 24576) (local.get $new_len)
        (i32.const 0) (i64.const -1)))
    (if (i32.lt_s (local.get $len) (i32.const 0))
      (then (call $fail (local.get $len)) (return)))
    (call $reply_bool (i32.const 1))))
