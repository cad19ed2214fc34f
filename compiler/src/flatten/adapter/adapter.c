// The adapter: the interfaces that components import, on the host functions of the guest ABI, and
// the passing of a call's input and reply.
//
// It becomes a part of the module that a component is flattened to, once for each allocator that the
// component names, so it works in the component's own memory. It has no memory, data, table or stack
// of its own: pointers to locals, constant strings and tables of constants would need them. The test
// `flatten::adapter` builds it and compares it with `adapter.wasm`, which is what the compiler embeds.
//
// Export names are those of the interfaces, without the version of `wasi`. Parameters and results
// are as the canonical ABI lowers them: a result that is no single number is written where the last
// parameter points. Results that are lists are allocated by `main.realloc` and belong to the component.

typedef unsigned char u8;
typedef unsigned int u32;
typedef int i32;
typedef long long i64;
typedef unsigned long long u64;

#define FERRITE(name) __attribute__((import_module("ferrite"), import_name(name))) extern
#define WASI(name) __attribute__((import_module("wasi_snapshot_preview1"), import_name(name))) extern
#define MAIN(name) __attribute__((import_module("main"), import_name(name))) extern
#define EXPORT(name) __attribute__((export_name(name)))
#define DATA(name) EXPORT("ferrite:function/data@0.1.0#" name)
#define HOST(name) EXPORT("ferrite:function/host@0.1.0#" name)
#define NETWORK(name) EXPORT("ferrite:function/network@0.1.0#" name)

FERRITE("key_count") i32 key_count(void);
FERRITE("arg_count") i32 arg_count(void);
FERRITE("key") i32 key(i32, void *, i32);
FERRITE("arg") i32 arg(i32, void *, i32);
FERRITE("reply_null") void reply_null(void);
FERRITE("reply_bool") void reply_bool(i32);
FERRITE("reply_int") void reply_int(i64);
FERRITE("reply_double") void reply_double(double);
FERRITE("reply_bulk") void reply_bulk(void *, i32);
FERRITE("reply_simple") void reply_simple(void *, i32);
FERRITE("reply_error") void reply_error(void *, i32);
FERRITE("reply_array") void reply_array(i32);
FERRITE("reply_map") void reply_map(i32);
FERRITE("get") i32 get(void *, i32, void *, i32);
FERRITE("set") i32 set(void *, i32, void *, i32, i32, i64);
FERRITE("del") i32 del(void *, i32);
FERRITE("exists") i32 exists(void *, i32);
FERRITE("incr_by") i32 incr_by(void *, i32, i64, void *);
FERRITE("expire") i32 expire(void *, i32, i64);
FERRITE("ttl") i64 ttl(void *, i32);
FERRITE("hget") i32 hget(void *, i32, void *, i32, void *, i32);
FERRITE("hset") i32 hset(void *, i32, void *, i32, void *, i32);
FERRITE("hdel") i32 hdel(void *, i32, void *, i32);
FERRITE("call") i32 command(void *, i32, void *, i32, void *, i32);
FERRITE("http") i32 http(void *, i32, void *, i32);
FERRITE("after_commit") i32 after_commit(void *, i32, void *, i32);
FERRITE("config") i32 config(void *, i32, void *, i32);
FERRITE("config_names") i32 config_names(void *, i32);
FERRITE("take") i32 take(void *, i32, i32);
FERRITE("log") void write_log(i32, void *, i32);
FERRITE("time_millis") i64 time_millis(void);
FERRITE("random") void fill_random(void *, i32);
WASI("clock_time_get") i32 clock_time_get(i32, i64, void *);
WASI("fd_write") i32 fd_write(i32, void *, i32, void *);
// The allocator that the caller names for its results: old pointer, old size, alignment, new size. It is asked for
// them alone, in the order of the types, because some callers give each a place of their own.
MAIN("realloc") void *realloc(void *, u32, u32, u32);
// The allocator that entries name, for what the adapter keeps. Both are only asked for new memory.
MAIN("own") void *own(void *, u32, u32, u32);

#define U8(at, offset) (*((u8 *)(at) + (offset)))
#define U32(at, offset) (*(u32 *)((u8 *)(at) + (offset)))
#define U64(at, offset) (*(u64 *)((u8 *)(at) + (offset)))

static void *allocate(u32 align, u32 size) { return realloc(0, 0, align, size); }

// A buffer for the adapter's own use, which the component never frees. When it grows, its content is
// lost: some allocators refuse to move what they gave. Variables of this address space are globals of
// the module.
static __attribute__((address_space(1))) u32 scratch_at, scratch_len;

static u8 *scratch(u32 len) {
  if (len > scratch_len) {
    // At least twice as long, so that what is left behind is less than the buffer.
    u32 longer = len > 2 * scratch_len ? len : 2 * scratch_len;
    scratch_at = (u32)own(0, 0, 8, longer);
    scratch_len = longer;
  }
  return (u8 *)scratch_at;
}

// Statuses of the host.
#define NOT_FOUND (-1)
#define ERRORS_FROM (-16)

// Writes the error of `result<_, failure>`, whose payload is at `offset`.
static void failure(u8 *result, u32 offset, i32 status) {
  i32 number = ERRORS_FROM - status;
  U8(result, 0) = 1;
  // A status that is not known is a fault of the store.
  U8(result, offset) = number >= 0 && number <= 5 ? number : 5;
}

// Takes the bytes that a read left behind into `list<u8>` at `list`.
static void take_all(void *list, u32 len) {
  u8 *bytes = allocate(1, len);
  if (len) take(bytes, 0, len);
  U32(list, 0) = (u32)bytes;
  U32(list, 4) = len;
}

static void optional_bytes(u8 *result, i32 len) {
  if (len < NOT_FOUND) return failure(result, 4, len);
  U8(result, 0) = 0;
  U8(result, 4) = len != NOT_FOUND;
  if (len != NOT_FOUND) take_all(result + 8, len);
}

static void count(u8 *result, i32 found) {
  if (found < 0) return failure(result, 4, found);
  U8(result, 0) = 0;
  U32(result, 4) = found;
}

static void boolean(u8 *result, i32 is_true, i32 status) {
  if (status <= ERRORS_FROM) return failure(result, 1, status);
  U8(result, 0) = 0;
  U8(result, 1) = is_true;
}

// ferrite:function/data

DATA("get") void data_get(void *key, i32 len, u8 *result) {
  optional_bytes(result, get(key, len, 0, 0));
}

DATA("set")
void data_set(void *key, i32 len, void *value, i32 value_len, i32 has_options, i32 condition, i32 keep_ttl,
              i32 has_ttl, i64 ttl_ms, u8 *result) {
  i32 options = 0;
  i64 expires = -1;
  if (has_options) {
    // The conditions are numbered as the options' bits: none, 1, 2.
    options = condition | (keep_ttl ? 4 : 0);
    if (has_ttl) {
      // More than fits would be taken for no expiry.
      if (ttl_ms < 0) return failure(result, 1, ERRORS_FROM - 3);
      expires = ttl_ms;
    }
  }
  i32 status = set(key, len, value, value_len, options, expires);
  boolean(result, status == 0, status);
}

DATA("del") void data_del(void *keys, i32 n, u8 *result) { count(result, del(keys, n)); }

DATA("exists") void data_exists(void *keys, i32 n, u8 *result) { count(result, exists(keys, n)); }

DATA("incr-by") void data_incr_by(void *key, i32 len, i64 delta, u8 *result) {
  i32 status = incr_by(key, len, delta, result + 8);
  if (status < 0) return failure(result, 8, status);
  U8(result, 0) = 0;
}

DATA("expire") void data_expire(void *key, i32 len, i64 ttl_ms, u8 *result) {
  i32 status = expire(key, len, ttl_ms);
  boolean(result, status, status);
}

DATA("ttl") void data_ttl(void *key, i32 len, u8 *result) {
  i64 ms = ttl(key, len);
  if (ms <= ERRORS_FROM) return failure(result, 8, (i32)ms);
  U8(result, 0) = 0;
  U64(result, 8) = ms;
}

DATA("hget") void data_hget(void *key, i32 len, void *field, i32 field_len, u8 *result) {
  optional_bytes(result, hget(key, len, field, field_len, 0, 0));
}

DATA("hset")
void data_hset(void *key, i32 len, void *field, i32 field_len, void *value, i32 value_len, u8 *result) {
  i32 status = hset(key, len, field, field_len, value, value_len);
  boolean(result, status, status);
}

DATA("hdel") void data_hdel(void *key, i32 len, void *fields, i32 n, u8 *result) {
  count(result, hdel(key, len, fields, n));
}

static u32 digits(u32 number) {
  u32 n = 1;
  while (number >= 10) {
    number /= 10;
    n++;
  }
  return n;
}

// Writes a head of RESP, `*3\r\n`; returns its end.
static u8 *head(u8 *to, u8 kind, u32 number) {
  u32 n = digits(number);
  *to++ = kind;
  for (u32 i = n; i--; number /= 10) to[i] = '0' + number % 10;
  to += n;
  *to++ = '\r';
  *to++ = '\n';
  return to;
}

// Reads the number after the kind of a head, up to its line's end.
static i64 number(u8 *from) {
  i32 negative = *from == '-';
  u64 value = 0;
  for (from += negative; *from != '\r'; from++) value = value * 10 + (*from - '0');
  return negative ? -value : value;
}

static u8 *line_end(u8 *from) {
  while (*from != '\r') from++;
  return from;
}

// The cases of `item`.
enum { ITEM_NULL, ITEM_BOOLEAN, ITEM_INTEGER, ITEM_DOUBLE, ITEM_BULK, ITEM_SIMPLE, ITEM_ERROR, ITEM_ARRAY, ITEM_MAP };
#define ITEM_SIZE 16

static void item_bytes(u8 *item, u8 kind, u8 *from, u32 len) {
  u8 *bytes = allocate(1, len);
  if (len) __builtin_memcpy(bytes, from, len);
  U8(item, 0) = kind;
  U32(item, 8) = (u32)bytes;
  U32(item, 12) = len;
}

DATA("call") void data_call(u8 *words, i32 n, u8 *result) {
  if (n < 1) return failure(result, 4, ERRORS_FROM - 3);
  u64 len = 1 + digits(n - 1) + 2;
  for (i32 i = 1; i < n; i++) len += 1 + digits(U32(words, 8 * i + 4)) + 2 + (u64)U32(words, 8 * i + 4) + 2;
  if (len > 0x7fffffff) return failure(result, 4, ERRORS_FROM - 4);
  u8 *args = scratch(len);
  u8 *to = head(args, '*', n - 1);
  for (i32 i = 1; i < n; i++) {
    u32 word_len = U32(words, 8 * i + 4);
    to = head(to, '$', word_len);
    if (word_len) __builtin_memcpy(to, (void *)U32(words, 8 * i), word_len);
    to += word_len;
    *to++ = '\r';
    *to++ = '\n';
  }
  i32 status = command((void *)U32(words, 0), U32(words, 4), args, len, 0, 0);
  if (status < 0) return failure(result, 4, status);
  u8 *reply = scratch(status);
  take(reply, 0, status);
  u8 *end = reply + status;
  // Each head of the reply is one item, in this order.
  u32 items = 0;
  for (u8 *at = reply; at < end; items++) {
    i64 bytes = *at == '$' ? number(at + 1) : -1;
    at = line_end(at) + 2;
    if (bytes >= 0) at += bytes + 2;
  }
  u8 *item = allocate(8, items * ITEM_SIZE);
  U8(result, 0) = 0;
  U32(result, 4) = (u32)item;
  U32(result, 8) = items;
  for (u8 *at = reply; at < end; item += ITEM_SIZE) {
    u8 kind = *at++;
    u8 *next = line_end(at);
    if (kind == '+' || kind == '-') {
      item_bytes(item, kind == '+' ? ITEM_SIMPLE : ITEM_ERROR, at, next - at);
      at = next + 2;
      continue;
    }
    i64 value = number(at);
    at = next + 2;
    if (kind == ':') {
      U8(item, 0) = ITEM_INTEGER;
      U64(item, 8) = value;
    } else if (value < 0) {
      U8(item, 0) = ITEM_NULL;
    } else if (kind == '$') {
      item_bytes(item, ITEM_BULK, at, value);
      at += value + 2;
    } else {
      U8(item, 0) = ITEM_ARRAY;
      U32(item, 8) = value;
    }
  }
}

// ferrite:function/host

HOST("log") void host_log(i32 level, void *message, i32 len) { write_log(level, message, len); }

HOST("time-millis") i64 host_time_millis(void) { return time_millis(); }

static void random_list(u8 *result, u64 len) {
  if (len > 0x7fffffff) __builtin_trap();
  u8 *bytes = allocate(1, len);
  fill_random(bytes, len);
  U32(result, 0) = (u32)bytes;
  U32(result, 4) = len;
}

HOST("random") void host_random(i32 len, u8 *result) { random_list(result, (u32)len); }

// ferrite:function/network

// Appends a bulk string of RESP; returns its end.
static u8 *bulk(u8 *to, void *bytes, u32 len) {
  to = head(to, '$', len);
  if (len) __builtin_memcpy(to, bytes, len);
  to += len;
  *to++ = '\r';
  *to++ = '\n';
  return to;
}

// Appends an option of a request with its value; the name is the bytes of a number, the lowest first.
static u8 *option(u8 *to, u64 first, u64 second, u32 len, u32 value) {
  to = head(to, '$', len);
  for (u32 i = 0; i < len; i++) *to++ = i < 8 ? first >> 8 * i : second >> 8 * (i - 8);
  *to++ = '\r';
  *to++ = '\n';
  u32 n = digits(value);
  to = head(to, '$', n);
  for (u32 i = n; i--; value /= 10) to[i] = '0' + value % 10;
  to += n;
  *to++ = '\r';
  *to++ = '\n';
  return to;
}

// Bytes around those of a bulk string: the kind, ten digits, and two ends of lines.
#define BULK_BYTES 15

// Writes a request as the host reads it; returns its length, and 0 if that is too much for one.
static u32 write_request(void *method, u32 method_len, void *url, u32 url_len, u32 *headers, u32 n, void *body,
                         u32 body_len, i32 has_timeout, u32 timeout, i32 has_redirects, u32 redirects) {
  u64 len = 3 * BULK_BYTES + (u64)method_len + url_len + body_len + 4 * 32;
  for (u32 i = 0; i < n; i++) len += 2 * BULK_BYTES + (u64)headers[4 * i + 1] + headers[4 * i + 3];
  if (len > 0x7fffffff) return 0;
  u8 *list = scratch(len);
  u8 *to = head(list, '*', 3 + 2 * n + 2 * !!has_timeout + 2 * !!has_redirects);
  to = bulk(to, method, method_len);
  to = bulk(to, url, url_len);
  to = bulk(to, body, body_len);
  for (u32 i = 0; i < n; i++, headers += 4) {
    u32 name_len = headers[1];
    // A name with a colon first would be an option; the host refuses an empty one.
    if (name_len && U8(headers[0], 0) == ':') name_len = 0;
    to = bulk(to, (void *)headers[0], name_len);
    to = bulk(to, (void *)headers[2], headers[3]);
  }
  // `:timeout` and `:redirects`.
  if (has_timeout) to = option(to, 0x74756f656d69743a, 0, 8, timeout);
  if (has_redirects) to = option(to, 0x636572696465723a, 0x7374, 10, redirects);
  return to - list;
}

// Writes `denied` or the text of an error that the host has replied, with the variant at `offset`.
static i32 refused(u8 *result, u32 offset, i32 status) {
  if (status == ERRORS_FROM) {
    U8(result, 0) = 1;
    U8(result, offset) = 0;
    return 1;
  }
  u8 *text;
  u32 len;
  if (status < 0) {
    // LIMIT, because the request is too long.
    text = allocate(1, 5);
    U32(text, 0) = 0x494d494c;
    U8(text, 4) = 'T';
    len = 5;
  } else {
    u8 *reply = scratch(status);
    take(reply, 0, status);
    if (*reply != '-') return 0;
    len = line_end(reply + 1) - (reply + 1);
    text = allocate(1, len);
    __builtin_memcpy(text, reply + 1, len);
  }
  U8(result, 0) = 1;
  U8(result, offset) = 1;
  U32(result, offset + 4) = (u32)text;
  U32(result, offset + 8) = len;
  return 1;
}

// Copies a bulk string into a list at `list`; returns the end of the string.
static u8 *bulk_list(u8 *from, void *list) {
  u32 len = number(from + 1);
  from = line_end(from) + 2;
  u8 *bytes = allocate(1, len);
  if (len) __builtin_memcpy(bytes, from, len);
  U32(list, 0) = (u32)bytes;
  U32(list, 4) = len;
  return from + len + 2;
}

NETWORK("send")
void network_send(void *method, u32 method_len, void *url, u32 url_len, u32 *headers, u32 n, void *body,
                  u32 body_len, i32 has_timeout, u32 timeout, i32 has_redirects, u32 redirects, u8 *result) {
  u32 len = write_request(method, method_len, url, url_len, headers, n, body, body_len, has_timeout, timeout,
                          has_redirects, redirects);
  i32 status = len ? http((void *)scratch_at, len, 0, 0) : ERRORS_FROM - 4;
  if (refused(result, 4, status)) return;
  u8 *at = (u8 *)scratch_at;
  u32 words = number(at + 1);
  at = line_end(at) + 2;
  U8(result, 0) = 0;
  *(unsigned short *)(result + 4) = number(at + 1);
  at = bulk_list(line_end(at) + 2, result + 8);
  at = bulk_list(at, result + 24);
  u32 found = (words - 3) / 2;
  u8 *pair = allocate(4, found * 16);
  U32(result, 16) = (u32)pair;
  U32(result, 20) = found;
  for (; found; found--, pair += 16) at = bulk_list(bulk_list(at, pair), pair + 8);
}

NETWORK("after-commit")
void network_after_commit(void *method, u32 method_len, void *url, u32 url_len, u32 *headers, u32 n, void *body,
                          u32 body_len, i32 has_timeout, u32 timeout, i32 has_redirects, u32 redirects,
                          u8 *result) {
  u32 len = write_request(method, method_len, url, url_len, headers, n, body, body_len, has_timeout, timeout,
                          has_redirects, redirects);
  i32 status = len ? after_commit((void *)scratch_at, len, 0, 0) : ERRORS_FROM - 4;
  if (refused(result, 4, status)) return;
  U8(result, 0) = 0;
  bulk_list((u8 *)scratch_at, result + 4);
}

NETWORK("config") void network_config(void *name, u32 len, u8 *result) {
  i32 found = config(name, len, 0, 0);
  U8(result, 0) = found >= 0;
  if (found >= 0) take_all(result + 4, found);
}

// wasi: clocks, random bytes, and output into the log. There are no arguments or variables.

EXPORT("wasi:clocks/wall-clock#now") void wall_clock_now(u8 *result) {
  clock_time_get(0, 1, result);
  u64 nanos = U64(result, 0);
  U64(result, 0) = nanos / 1000000000;
  U32(result, 8) = nanos % 1000000000;
}

EXPORT("wasi:clocks/wall-clock#resolution") void wall_clock_resolution(u8 *result) {
  U64(result, 0) = 0;
  U32(result, 8) = 1000000;
}

EXPORT("wasi:clocks/monotonic-clock#now") u64 monotonic_clock_now(void) {
  u8 *nanos = scratch(8);
  clock_time_get(1, 1, nanos);
  return U64(nanos, 0);
}

EXPORT("wasi:clocks/monotonic-clock#resolution") u64 monotonic_clock_resolution(void) { return 1000000; }

EXPORT("wasi:random/random#get-random-bytes") void random_bytes(u64 len, u8 *result) { random_list(result, len); }

static u64 random_u64(void) {
  u8 *bytes = scratch(8);
  fill_random(bytes, 8);
  return U64(bytes, 0);
}

EXPORT("wasi:random/random#get-random-u64") u64 secure_u64(void) { return random_u64(); }

EXPORT("wasi:random/insecure#get-insecure-random-bytes") void insecure_bytes(u64 len, u8 *result) {
  random_list(result, len);
}

EXPORT("wasi:random/insecure#get-insecure-random-u64") u64 insecure_u64(void) { return random_u64(); }

EXPORT("wasi:random/insecure-seed#insecure-seed") void insecure_seed(u8 *result) { fill_random(result, 16); }

#include "streams.h"

static void empty_list(u8 *result) {
  U32(result, 0) = 4;
  U32(result, 4) = 0;
}

EXPORT("wasi:cli/environment#get-environment") void get_environment(u8 *result) { empty_list(result); }

EXPORT("wasi:cli/environment#get-arguments") void get_arguments(u8 *result) { empty_list(result); }

EXPORT("wasi:cli/environment#initial-cwd") void initial_cwd(u8 *result) { U8(result, 0) = 0; }

EXPORT("wasi:cli/terminal-stdin#get-terminal-stdin") void terminal_stdin(u8 *result) { U8(result, 0) = 0; }

EXPORT("wasi:cli/terminal-stdout#get-terminal-stdout") void terminal_stdout(u8 *result) { U8(result, 0) = 0; }

EXPORT("wasi:cli/terminal-stderr#get-terminal-stderr") void terminal_stderr(u8 *result) { U8(result, 0) = 0; }

// wasi:keyvalue, both drafts. A bucket is a key prefix: `default` and the empty name are the whole
// keyspace, `users` is every key that begins with `users:`. The handle of a bucket is the address of
// its prefix. As a call is one transaction, `swap` compares with the value that the call sees; a
// change by others is found when the call ends, which then runs again.

// A prepared swap.
typedef struct {
  Bytes key;
  u32 exists;
  Bytes value;
} Cas;

// The cases of `error`.
enum { NO_SUCH_STORE, ACCESS_DENIED, OTHER };

// Writes `error` at `to`.
static void store_error(u8 *to, i32 status) {
  if (status == ERRORS_FROM || status == ERRORS_FROM - 1) {
    U8(to, 0) = ACCESS_DENIED;
    return;
  }
  // The text is written as numbers, because there is no data.
  u8 *text = allocate(1, 16);
  u32 len;
  if (status == ERRORS_FROM - 2) {
    U64(text, 0) = 0x79742d676e6f7277; // wrong-ty
    U64(text, 8) = 0x6570;             // pe
    len = 10;
  } else if (status == ERRORS_FROM - 3) {
    U64(text, 0) = 0x64696c61766e69; // invalid
    len = 7;
  } else if (status == ERRORS_FROM - 4) {
    U64(text, 0) = 0x74696d696c; // limit
    len = 5;
  } else {
    U64(text, 0) = 0x65726f7473; // store
    len = 5;
  }
  U8(to, 0) = OTHER;
  U32(to, 4) = (u32)text;
  U32(to, 8) = len;
}

// Writes the error case of a result with its payload at `offset`.
static void store_failed(u8 *result, u32 offset, i32 status) {
  U8(result, 0) = 1;
  store_error(result + offset, status);
}

static Bytes *prefix_of(u8 *name, u32 len) {
  Bytes *bucket = allocate(4, sizeof(Bytes));
  bucket->len = 0;
  i32 is_default = len == 7 && name[0] == 'd' && name[1] == 'e' && name[2] == 'f' && name[3] == 'a' && name[4] == 'u' &&
                   name[5] == 'l' && name[6] == 't';
  if (len && !is_default) {
    bucket->at = allocate(1, len + 1);
    __builtin_memcpy(bucket->at, name, len);
    bucket->at[len] = ':';
    bucket->len = len + 1;
  }
  return bucket;
}

// Appends bytes; returns their end.
static u8 *append(u8 *to, void *from, u32 len) {
  if (len) __builtin_memcpy(to, from, len);
  return to + len;
}

// The whole key, in the adapter's own buffer or in memory of its own.
static u8 *whole_key(Bytes *bucket, void *key, u32 len, u8 *to) {
  append(append(to, bucket->at, bucket->len), key, len);
  return to;
}

// Writes `option<list<u8>>` at `to`; returns a status below `NOT_FOUND` if that failed.
static i32 read_value(u8 *key, u32 len, u8 *to) {
  i32 found = get(key, len, 0, 0);
  if (found < NOT_FOUND) return found;
  U8(to, 0) = found != NOT_FOUND;
  if (found != NOT_FOUND) take_all(to + 4, found);
  return 0;
}

static void bucket_get(Bytes *bucket, void *key, u32 len, u8 *result) {
  u32 whole = bucket->len + len;
  i32 status = read_value(whole_key(bucket, key, len, scratch(whole)), whole, result + 4);
  if (status) return store_failed(result, 4, status);
  U8(result, 0) = 0;
}

static i32 write_value(Bytes *bucket, void *key, u32 len, void *value, u32 value_len) {
  u32 whole = bucket->len + len;
  return set(whole_key(bucket, key, len, scratch(whole)), whole, value, value_len, 0, -1);
}

static void bucket_set(Bytes *bucket, void *key, u32 len, void *value, u32 value_len, u8 *result) {
  i32 status = write_value(bucket, key, len, value, value_len);
  if (status < 0) return store_failed(result, 4, status);
  U8(result, 0) = 0;
}

// Names one key as `del` and `exists` take them: a pair in front of the key.
static u8 *one_key(Bytes *bucket, void *key, u32 len) {
  u32 whole = bucket->len + len;
  u8 *pair = scratch(8 + whole);
  U32(pair, 0) = (u32)whole_key(bucket, key, len, pair + 8);
  U32(pair, 4) = whole;
  return pair;
}

static void bucket_delete(Bytes *bucket, void *key, u32 len, u8 *result) {
  i32 status = del(one_key(bucket, key, len), 1);
  if (status < 0) return store_failed(result, 4, status);
  U8(result, 0) = 0;
}

static void bucket_exists(Bytes *bucket, void *key, u32 len, u8 *result) {
  i32 found = exists(one_key(bucket, key, len), 1);
  if (found < 0) return store_failed(result, 4, found);
  U8(result, 0) = 0;
  U8(result, 4) = found != 0;
}

static i32 is_utf8(u8 *text, u32 len) {
  for (u32 i = 0; i < len;) {
    u32 lead = text[i++], more = lead < 0x80 ? 0 : lead >= 0xc2 && lead < 0xe0 ? 1 : (lead & 0xf0) == 0xe0 ? 2 : 3;
    if (more > len - i || (more == 3 && (lead < 0xf0 || lead > 0xf4))) return 0;
    if (more >= 2) {
      u32 second = text[i];
      // Neither longer than needed, nor half of a pair, nor beyond the last character.
      if ((lead == 0xe0 && second < 0xa0) || (lead == 0xed && second > 0x9f) || (lead == 0xf0 && second < 0x90) ||
          (lead == 0xf4 && second > 0x8f))
        return 0;
    }
    for (; more; more--)
      if ((text[i++] & 0xc0) != 0x80) return 0;
  }
  return 1;
}

// Copies a text into memory of its own, named at `to`.
static void copy_text(u8 *text, u32 len, u8 *to) {
  u8 *copy = allocate(1, len);
  append(copy, text, len);
  U32(to, 0) = (u32)copy;
  U32(to, 4) = len;
}

// A word of at most eight bytes, given as a number.
static void word(Bytes *word, u64 text, u32 len) {
  word->at = allocate(1, 8);
  U64(word->at, 0) = text;
  word->len = len;
}

// Finds a page of keys by SCAN. Writes the list of keys at `keys` and the next cursor into `cursor`;
// returns a status below zero if that failed. Keys that are not text are left out.
static i32 scan(Bytes *bucket, Bytes *cursor, u8 *keys) {
  Bytes *words = allocate(4, 6 * sizeof(Bytes));
  word(&words[0], 0x4e414353, 4);
  words[1] = *cursor;
  word(&words[2], 0x484354414d, 5);
  // Every byte of the prefix may need a backslash.
  u8 *end = words[3].at = allocate(1, 2 * bucket->len + 1);
  for (u32 i = 0; i < bucket->len; i++) {
    u8 byte = bucket->at[i];
    if (byte == '*' || byte == '?' || byte == '[' || byte == ']' || byte == '\\' || byte == '^') *end++ = '\\';
    *end++ = byte;
  }
  *end++ = '*';
  words[3].len = end - words[3].at;
  word(&words[4], 0x544e554f43, 5);
  word(&words[5], 0x30303031, 4);
  u8 *result = allocate(4, 12);
  data_call((u8 *)words, 6, result);
  if (U8(result, 0)) return ERRORS_FROM - U8(result, 4);
  // An array of the next cursor and an array of keys.
  u8 *item = (u8 *)U32(result, 4);
  if (U32(result, 8) < 3) return ERRORS_FROM - 3;
  *cursor = *(Bytes *)(item + ITEM_SIZE + 8);
  u32 found = U32(item, 2 * ITEM_SIZE + 8), kept = 0;
  Bytes *list = allocate(4, found * sizeof(Bytes));
  for (item += 3 * ITEM_SIZE; found; found--, item += ITEM_SIZE) {
    u8 *key = (u8 *)U32(item, 8);
    u32 whole = U32(item, 12), len = whole - bucket->len;
    if (!is_utf8(key + bucket->len, len)) continue;
    // The component frees the key, so it has to be an allocation of its length.
    copy_text(key + bucket->len, len, (u8 *)&list[kept++]);
  }
  U32(keys, 0) = (u32)list;
  U32(keys, 4) = kept;
  return 0;
}

static void increment(Bytes *bucket, void *key, u32 len, i64 delta, u8 *result) {
  u32 whole = bucket->len + len;
  i32 status = incr_by(whole_key(bucket, key, len, scratch(whole)), whole, delta, result + 8);
  if (status < 0) return store_failed(result, 8, status);
  U8(result, 0) = 0;
}

#define BOTH(draft, number)                                                                                         \
  EXPORT("wasi:keyvalue/store@" draft "#open") void open_##number(u8 *name, u32 len, u8 *result) {                  \
    U8(result, 0) = 0;                                                                                              \
    U32(result, 4) = (u32)prefix_of(name, len);                                                                     \
  }                                                                                                                 \
  EXPORT("wasi:keyvalue/store@" draft "#[method]bucket.get")                                                        \
  void get_##number(Bytes *bucket, void *key, u32 len, u8 *result) { bucket_get(bucket, key, len, result); }        \
  EXPORT("wasi:keyvalue/store@" draft "#[method]bucket.set")                                                        \
  void set_##number(Bytes *bucket, void *key, u32 len, void *value, u32 value_len, u8 *result) {                    \
    bucket_set(bucket, key, len, value, value_len, result);                                                         \
  }                                                                                                                 \
  EXPORT("wasi:keyvalue/store@" draft "#[method]bucket.delete")                                                     \
  void delete_##number(Bytes *bucket, void *key, u32 len, u8 *result) { bucket_delete(bucket, key, len, result); }  \
  EXPORT("wasi:keyvalue/store@" draft "#[method]bucket.exists")                                                     \
  void exists_##number(Bytes *bucket, void *key, u32 len, u8 *result) { bucket_exists(bucket, key, len, result); }  \
  EXPORT("wasi:keyvalue/atomics@" draft "#increment")                                                               \
  void increment_##number(Bytes *bucket, void *key, u32 len, i64 delta, u8 *result) {                               \
    increment(bucket, key, len, delta, result);                                                                     \
  }                                                                                                                 \
  EXPORT("wasi:keyvalue/batch@" draft "#set-many")                                                                  \
  void set_many_##number(Bytes *bucket, Bytes *pairs, u32 n, u8 *result) { set_many(bucket, pairs, n, result); }    \
  EXPORT("wasi:keyvalue/batch@" draft "#delete-many")                                                               \
  void delete_many_##number(Bytes *bucket, Bytes *keys, u32 n, u8 *result) { delete_many(bucket, keys, n, result); }

static void set_many(Bytes *bucket, Bytes *pairs, u32 n, u8 *result) {
  for (; n; n--, pairs += 2) {
    i32 status = write_value(bucket, pairs[0].at, pairs[0].len, pairs[1].at, pairs[1].len);
    if (status < 0) return store_failed(result, 4, status);
  }
  U8(result, 0) = 0;
}

static void delete_many(Bytes *bucket, Bytes *keys, u32 n, u8 *result) {
  U8(result, 0) = 0;
  for (; n && !U8(result, 0); n--, keys++) bucket_delete(bucket, keys->at, keys->len, result);
}

BOTH("0.2.0-draft", 1)
BOTH("0.2.0-draft2", 2)

// The first draft: cursors are numbers, and a value that is missing is a missing pair.

EXPORT("wasi:keyvalue/store@0.2.0-draft#[method]bucket.list-keys")
void list_keys_1(Bytes *bucket, i32 has_cursor, u64 number_given, u8 *result) {
  Bytes *cursor = allocate(4, sizeof(Bytes));
  u64 rest = has_cursor ? number_given : 0;
  u32 len = 1;
  for (u64 more = rest; more >= 10; more /= 10) len++;
  cursor->at = allocate(1, len);
  cursor->len = len;
  for (u32 i = len; i--; rest /= 10) cursor->at[i] = '0' + rest % 10;
  i32 status = scan(bucket, cursor, result + 8);
  if (status) return store_failed(result, 8, status);
  u64 next = 0;
  for (u32 i = 0; i < cursor->len; i++) next = next * 10 + (cursor->at[i] - '0');
  U8(result, 0) = 0;
  U8(result, 16) = next != 0;
  U64(result, 24) = next;
}

EXPORT("wasi:keyvalue/batch@0.2.0-draft#get-many")
void get_many_1(Bytes *bucket, Bytes *keys, u32 n, u8 *result) {
  u8 *pair = allocate(4, n * 20);
  U8(result, 0) = 0;
  U32(result, 4) = (u32)pair;
  U32(result, 8) = n;
  for (; n; n--, keys++, pair += 20) {
    u32 whole = bucket->len + keys->len;
    // The value is read where the pair's own begins, and the pair has the same tag.
    i32 status = read_value(whole_key(bucket, keys->at, keys->len, scratch(whole)), whole, pair + 8);
    if (status) return store_failed(result, 4, status);
    U8(pair, 0) = U8(pair, 8);
    copy_text(keys->at, keys->len, pair + 4);
  }
}

// The second draft: cursors are texts, a value that is missing is a pair without it, and there is
// compare-and-swap.

EXPORT("wasi:keyvalue/store@0.2.0-draft2#[method]bucket.list-keys")
void list_keys_2(Bytes *bucket, i32 has_cursor, u8 *given, u32 given_len, u8 *result) {
  Bytes *cursor = allocate(4, sizeof(Bytes));
  cursor->at = given;
  cursor->len = given_len;
  if (!has_cursor) word(cursor, '0', 1);
  i32 status = scan(bucket, cursor, result + 4);
  if (status) return store_failed(result, 4, status);
  U8(result, 0) = 0;
  U8(result, 12) = !(cursor->len == 1 && cursor->at[0] == '0');
  U32(result, 16) = (u32)cursor->at;
  U32(result, 20) = cursor->len;
}

EXPORT("wasi:keyvalue/batch@0.2.0-draft2#get-many")
void get_many_2(Bytes *bucket, Bytes *keys, u32 n, u8 *result) {
  u8 *pair = allocate(4, n * 20);
  U8(result, 0) = 0;
  U32(result, 4) = (u32)pair;
  U32(result, 8) = n;
  for (; n; n--, keys++, pair += 20) {
    u32 whole = bucket->len + keys->len;
    i32 status = read_value(whole_key(bucket, keys->at, keys->len, scratch(whole)), whole, pair + 8);
    if (status) return store_failed(result, 4, status);
    copy_text(keys->at, keys->len, pair);
  }
}

// Reads the value that a swap is to replace.
static i32 prepare(Cas *cas, u8 *result) {
  i32 status = read_value(cas->key.at, cas->key.len, result);
  if (status) return status;
  cas->exists = U8(result, 0);
  cas->value = *(Bytes *)(result + 4);
  return 0;
}

EXPORT("wasi:keyvalue/atomics@0.2.0-draft2#[static]cas.new")
void cas_new(Bytes *bucket, void *key, u32 len, u8 *result) {
  Cas *cas = allocate(4, sizeof(Cas) + 12);
  u32 whole = bucket->len + len;
  cas->key.at = whole_key(bucket, key, len, allocate(1, whole));
  cas->key.len = whole;
  i32 status = prepare(cas, (u8 *)(cas + 1));
  if (status) return store_failed(result, 4, status);
  U8(result, 0) = 0;
  U32(result, 4) = (u32)cas;
}

EXPORT("wasi:keyvalue/atomics@0.2.0-draft2#[method]cas.current") void cas_current(Cas *cas, u8 *result) {
  U8(result, 0) = 0;
  U8(result, 4) = cas->exists;
  if (cas->exists) copy_text(cas->value.at, cas->value.len, result + 8);
}

EXPORT("wasi:keyvalue/atomics@0.2.0-draft2#swap") void swap(Cas *cas, void *value, u32 len, u8 *result) {
  // In the result: `cas-error` at 4, its payload at 8.
  u8 *now = allocate(4, 12);
  i32 status = read_value(cas->key.at, cas->key.len, now);
  i32 same = !status && U8(now, 0) == cas->exists;
  if (same && cas->exists) {
    same = U32(now, 8) == cas->value.len;
    for (u32 i = 0; same && i < cas->value.len; i++) same = ((u8 *)U32(now, 4))[i] == cas->value.at[i];
  }
  if (same) status = set(cas->key.at, cas->key.len, value, len, 0, -1);
  U8(result, 0) = status || !same;
  if (status) {
    U8(result, 4) = 0;
    store_error(result + 8, status);
  } else if (!same) {
    cas->exists = U8(now, 0);
    cas->value = *(Bytes *)(now + 4);
    U8(result, 4) = 1;
    U32(result, 8) = (u32)cas;
  }
}

#include "config.h"
#include "files.h"
#include "http.h"

// wasi:logging

EXPORT("wasi:logging/logging@0.1.0-draft#log")
void logging(i32 level, void *context, u32 context_len, void *message, u32 len) {
  u8 *line = scratch(context_len + 2 + len), *to = append(line, context, context_len);
  if (context_len) {
    *to++ = ':';
    *to++ = ' ';
  }
  to = append(to, message, len);
  // Critical is an error here.
  write_log(level > 4 ? 4 : level, line, to - line);
}

// Entries: `input` from the call, and the reply from `result<list<item>, string>`.

static u32 *strings(i32 n, i32 are_keys) {
  u32 *list = allocate(4, n * 8);
  for (i32 i = 0; i < n; i++) {
    i32 len = are_keys ? key(i, 0, 0) : arg(i, 0, 0);
    u8 *bytes = allocate(1, len);
    if (are_keys) key(i, bytes, len);
    else arg(i, bytes, len);
    list[2 * i] = (u32)bytes;
    list[2 * i + 1] = len;
  }
  return list;
}

EXPORT("entry#key-count") i32 entry_key_count(void) { return key_count(); }

EXPORT("entry#arg-count") i32 entry_arg_count(void) { return arg_count(); }

EXPORT("entry#keys") u32 *entry_keys(void) { return strings(key_count(), 1); }

EXPORT("entry#args") u32 *entry_args(void) { return strings(arg_count(), 0); }

// A buffer for the entry's name.
EXPORT("entry#allocate") void *entry_allocate(i32 len) { return allocate(1, len); }

EXPORT("entry#reply") void entry_reply(u8 *result) {
  if (U8(result, 0)) return reply_error((void *)U32(result, 4), U32(result, 8));
  u8 *item = (u8 *)U32(result, 4);
  for (u32 n = U32(result, 8); n; n--, item += ITEM_SIZE) {
    void *bytes = (void *)U32(item, 8);
    u32 len = U32(item, 12);
    u8 kind = U8(item, 0);
    if (kind == ITEM_NULL) reply_null();
    else if (kind == ITEM_BOOLEAN) reply_bool(U8(item, 8));
    else if (kind == ITEM_INTEGER) reply_int(U64(item, 8));
    else if (kind == ITEM_DOUBLE) reply_double(*(double *)(item + 8));
    else if (kind == ITEM_BULK) reply_bulk(bytes, len);
    else if (kind == ITEM_SIMPLE) reply_simple(bytes, len);
    else if (kind == ITEM_ERROR) reply_error(bytes, len);
    else if (kind == ITEM_ARRAY) reply_array((i32)bytes);
    else if (kind == ITEM_MAP) reply_map((i32)bytes);
    else __builtin_trap();
  }
}

#include "typed.h"
