// The functions of the host, as the guest ABI declares them. Pointers and lengths are 32 bits wide.

// @ts-ignore: decorator
@external("ferrite", "key_count")
export declare function key_count(): i32;

// @ts-ignore: decorator
@external("ferrite", "arg_count")
export declare function arg_count(): i32;

// @ts-ignore: decorator
@external("ferrite", "key")
export declare function key(index: i32, buf: usize, cap: i32): i32;

// @ts-ignore: decorator
@external("ferrite", "arg")
export declare function arg(index: i32, buf: usize, cap: i32): i32;

// @ts-ignore: decorator
@external("ferrite", "reply_null")
export declare function reply_null(): void;

// @ts-ignore: decorator
@external("ferrite", "reply_bool")
export declare function reply_bool(value: i32): void;

// @ts-ignore: decorator
@external("ferrite", "reply_int")
export declare function reply_int(value: i64): void;

// @ts-ignore: decorator
@external("ferrite", "reply_double")
export declare function reply_double(value: f64): void;

// @ts-ignore: decorator
@external("ferrite", "reply_bulk")
export declare function reply_bulk(ptr: usize, len: i32): void;

// @ts-ignore: decorator
@external("ferrite", "reply_simple")
export declare function reply_simple(ptr: usize, len: i32): void;

// @ts-ignore: decorator
@external("ferrite", "reply_error")
export declare function reply_error(ptr: usize, len: i32): void;

// @ts-ignore: decorator
@external("ferrite", "reply_array")
export declare function reply_array(n: i32): void;

// @ts-ignore: decorator
@external("ferrite", "reply_map")
export declare function reply_map(n: i32): void;

// @ts-ignore: decorator
@external("ferrite", "get")
export declare function get(key: usize, klen: i32, buf: usize, cap: i32): i32;

// @ts-ignore: decorator
@external("ferrite", "set")
export declare function set(key: usize, klen: i32, val: usize, vlen: i32, options: i32, ttl_ms: i64): i32;

// @ts-ignore: decorator
@external("ferrite", "del")
export declare function del(pairs: usize, count: i32): i32;

// @ts-ignore: decorator
@external("ferrite", "exists")
export declare function exists(pairs: usize, count: i32): i32;

// @ts-ignore: decorator
@external("ferrite", "incr_by")
export declare function incr_by(key: usize, klen: i32, delta: i64, out: usize): i32;

// @ts-ignore: decorator
@external("ferrite", "expire")
export declare function expire(key: usize, klen: i32, ttl_ms: i64): i32;

// @ts-ignore: decorator
@external("ferrite", "ttl")
export declare function ttl(key: usize, klen: i32): i64;

// @ts-ignore: decorator
@external("ferrite", "hget")
export declare function hget(key: usize, klen: i32, field: usize, flen: i32, buf: usize, cap: i32): i32;

// @ts-ignore: decorator
@external("ferrite", "hset")
export declare function hset(key: usize, klen: i32, field: usize, flen: i32, val: usize, vlen: i32): i32;

// @ts-ignore: decorator
@external("ferrite", "hdel")
export declare function hdel(key: usize, klen: i32, pairs: usize, count: i32): i32;

// @ts-ignore: decorator
@external("ferrite", "http")
export declare function http(request: usize, len: i32, buf: usize, cap: i32): i32;

// @ts-ignore: decorator
@external("ferrite", "after_commit")
export declare function after_commit(request: usize, len: i32, buf: usize, cap: i32): i32;

// @ts-ignore: decorator
@external("ferrite", "config")
export declare function config(name: usize, nlen: i32, buf: usize, cap: i32): i32;

// @ts-ignore: decorator
@external("ferrite", "call")
export declare function call(cmd: usize, cmdlen: i32, args: usize, argslen: i32, buf: usize, cap: i32): i32;

// @ts-ignore: decorator
@external("ferrite", "take")
export declare function take(buf: usize, offset: i32, len: i32): i32;

// @ts-ignore: decorator
@external("ferrite", "log")
export declare function log(level: i32, ptr: usize, len: i32): void;

// @ts-ignore: decorator
@external("ferrite", "time_millis")
export declare function time_millis(): i64;

// @ts-ignore: decorator
@external("ferrite", "random")
export declare function random(buf: usize, len: i32): void;

/** Results of a host function that has no value to return. Those from DENIED down are errors. */
export namespace Status {
  export const NOT_FOUND: i32 = -1;
  export const NOT_STORED: i32 = -2;
  export const DENIED: i32 = -16;
  export const READ_ONLY: i32 = -17;
  export const WRONG_TYPE: i32 = -18;
  export const INVALID: i32 = -19;
  export const LIMIT: i32 = -20;
  export const STORE: i32 = -21;
}
