;; Each typed operation of the data as an entry, and some of them in a row.
(module
  (import "ferrite" "key" (func $key (param i32 i32 i32) (result i32)))
  (import "ferrite" "arg" (func $arg (param i32 i32 i32) (result i32)))
  (import "ferrite" "arg_count" (func $arg_count (result i32)))
  (import "ferrite" "get" (func $get (param i32 i32 i32 i32) (result i32)))
  (import "ferrite" "set" (func $set (param i32 i32 i32 i32 i32 i64) (result i32)))
  (import "ferrite" "del" (func $del (param i32 i32) (result i32)))
  (import "ferrite" "exists" (func $exists (param i32 i32) (result i32)))
  (import "ferrite" "incr_by" (func $incr_by (param i32 i32 i64 i32) (result i32)))
  (import "ferrite" "expire" (func $expire (param i32 i32 i64) (result i32)))
  (import "ferrite" "ttl" (func $ttl (param i32 i32) (result i64)))
  (import "ferrite" "hget" (func $hget (param i32 i32 i32 i32 i32 i32) (result i32)))
  (import "ferrite" "hset" (func $hset (param i32 i32 i32 i32 i32 i32) (result i32)))
  (import "ferrite" "hdel" (func $hdel (param i32 i32 i32 i32) (result i32)))
  (import "ferrite" "call" (func $call (param i32 i32 i32 i32 i32 i32) (result i32)))
  (import "ferrite" "reply_int" (func $int (param i64)))
  (import "ferrite" "reply_bulk" (func $bulk (param i32 i32)))
  (import "ferrite" "reply_array" (func $array (param i32)))
  (memory (export "memory") 2)
  (global $klen (mut i32) (i32.const 0))
  (global $alen (mut i32) (i32.const 0))
  (global $blen (mut i32) (i32.const 0))

  ;; The key at 1024, the first two arguments at 2048 and 4096, pairs of pointer and length at 0.
  (func $load
    (global.set $klen (call $key (i32.const 0) (i32.const 1024) (i32.const 1024)))
    (if (i32.gt_s (call $arg_count) (i32.const 0)) (then
      (global.set $alen (call $arg (i32.const 0) (i32.const 2048) (i32.const 2048)))))
    (if (i32.gt_s (call $arg_count) (i32.const 1)) (then
      (global.set $blen (call $arg (i32.const 1) (i32.const 4096) (i32.const 4096))))))
  (func $pair (param $pointer i32) (param $len i32)
    (i32.store (i32.const 0) (local.get $pointer))
    (i32.store (i32.const 4) (local.get $len)))
  (func $status (param $status i32) (call $int (i64.extend_i32_s (local.get $status))))
  (func $value (param $len i32)
    (if (i32.lt_s (local.get $len) (i32.const 0))
      (then (call $status (local.get $len)))
      (else (call $bulk (i32.const 16384) (local.get $len)))))

  (func $do_get (call $value (call $get (i32.const 1024) (global.get $klen) (i32.const 16384) (i32.const 32768))))
  (func $do_set (param $options i32) (param $ttl i64)
    (call $status (call $set (i32.const 1024) (global.get $klen) (i32.const 2048) (global.get $alen)
      (local.get $options) (local.get $ttl))))
  (func $do_del
    (call $pair (i32.const 1024) (global.get $klen))
    (call $status (call $del (i32.const 0) (i32.const 1))))
  (func $do_exists
    (call $pair (i32.const 1024) (global.get $klen))
    (call $status (call $exists (i32.const 0) (i32.const 1))))
  (func $do_incr (param $delta i64) (local $status i32)
    (local.set $status (call $incr_by (i32.const 1024) (global.get $klen) (local.get $delta) (i32.const 8)))
    (if (local.get $status)
      (then (call $status (local.get $status)))
      (else (call $int (i64.load (i32.const 8))))))
  (func $do_expire (param $ttl i64)
    (call $status (call $expire (i32.const 1024) (global.get $klen) (local.get $ttl))))
  ;; Whether there is a time to live, rather than how long: -2, -1 or 1.
  (func $do_ttl (local $ttl i64)
    (local.set $ttl (call $ttl (i32.const 1024) (global.get $klen)))
    (if (i64.gt_s (local.get $ttl) (i64.const 0)) (then (local.set $ttl (i64.const 1))))
    (call $int (local.get $ttl)))
  (func $do_hget
    (call $value (call $hget (i32.const 1024) (global.get $klen) (i32.const 2048) (global.get $alen)
      (i32.const 16384) (i32.const 32768))))
  (func $do_hset
    (call $status (call $hset (i32.const 1024) (global.get $klen) (i32.const 2048) (global.get $alen)
      (i32.const 4096) (global.get $blen))))
  (func $do_hdel
    (call $pair (i32.const 2048) (global.get $alen))
    (call $status (call $hdel (i32.const 1024) (global.get $klen) (i32.const 0) (i32.const 1))))

  (func (export "get") (call $load) (call $do_get))
  (func (export "set") (call $load) (call $do_set (i32.const 0) (i64.const -1)))
  (func (export "set_nx") (call $load) (call $do_set (i32.const 1) (i64.const -1)))
  (func (export "set_xx") (call $load) (call $do_set (i32.const 2) (i64.const -1)))
  (func (export "set_keep") (call $load) (call $do_set (i32.const 4) (i64.const -1)))
  (func (export "set_px") (call $load) (call $do_set (i32.const 0) (i64.const 100000)))
  (func (export "del") (call $load) (call $do_del))
  (func (export "exists") (call $load) (call $do_exists))
  (func (export "incr") (call $load) (call $do_incr (i64.const 3)))
  (func (export "expire") (call $load) (call $do_expire (i64.const 100000)))
  (func (export "expire_now") (call $load) (call $do_expire (i64.const 0)))
  (func (export "ttl") (call $load) (call $do_ttl))
  (func (export "hget") (call $load) (call $do_hget))
  (func (export "hset") (call $load) (call $do_hset))
  (func (export "hdel") (call $load) (call $do_hdel))

  ;; Any command: its name and its other words as a RESP array.
  (func (export "any") (call $load)
    (call $value (call $call (i32.const 2048) (global.get $alen) (i32.const 4096) (global.get $blen)
      (i32.const 16384) (i32.const 65536))))

  ;; A string: everything sees what was written before it in the same call.
  (func $string
    (call $array (i32.const 12))
    (call $do_set (i32.const 0) (i64.const 100000))
    (call $do_get)
    (call $do_ttl)
    (call $do_set (i32.const 4) (i64.const -1))
    (call $do_ttl)
    (call $do_set (i32.const 1) (i64.const -1))
    (call $do_del)
    (call $do_exists)
    (call $do_incr (i64.const 41))
    (call $do_incr (i64.const 1))
    (call $do_ttl)
    (call $do_expire (i64.const 5000)))
  (func (export "string") (call $load) (call $string))

  ;; A hash: the same.
  (func $hash
    (call $array (i32.const 9))
    (call $do_hset)
    (call $do_hset)
    (call $do_hget)
    (call $do_exists)
    (call $do_get)
    (call $do_hdel)
    (call $do_exists)
    (call $do_hset)
    (call $do_expire (i64.const 100000)))
  (func (export "hash") (call $load) (call $hash))

  ;; The same, and then a trap: nothing of it may be left.
  (func (export "string_trap") (call $load) (call $string) unreachable)
  (func (export "hash_trap") (call $load) (call $hash) unreachable)

  ;; Reads a number, works on something for a long while, and writes the number plus one.
  (func (export "slow_incr") (local $steps i32) (local $len i32)
    (call $load)
    (local.set $len (call $get (i32.const 1024) (global.get $klen) (i32.const 16384) (i32.const 64)))
    (loop $again
      (local.set $steps (i32.add (local.get $steps) (i32.const 1)))
      (br_if $again (i32.lt_u (local.get $steps) (i32.const 3000000))))
    (call $do_incr (i64.const 1)))

  ;; A command that writes, then the same long while, then a read.
  (func (export "slow_any") (local $steps i32)
    (call $load)
    (call $array (i32.const 2))
    (call $value (call $call (i32.const 2048) (global.get $alen) (i32.const 4096) (global.get $blen)
      (i32.const 16384) (i32.const 65536)))
    (loop $again
      (local.set $steps (i32.add (local.get $steps) (i32.const 1)))
      (br_if $again (i32.lt_u (local.get $steps) (i32.const 30000000))))
    (call $do_exists))

  ;; Writes, runs a command that writes, and never ends.
  (func (export "endless") (call $load)
    (drop (call $set (i32.const 1024) (global.get $klen) (i32.const 2048) (global.get $alen) (i32.const 0) (i64.const -1)))
    (drop (call $call (i32.const 2048) (global.get $alen) (i32.const 4096) (global.get $blen) (i32.const 16384) (i32.const 65536)))
    (loop $again (br $again))))
