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
FERRITE("take") i32 take(void *, i32, i32);
FERRITE("log") void write_log(i32, void *, i32);
FERRITE("time_millis") i64 time_millis(void);
FERRITE("random") void fill_random(void *, i32);
WASI("clock_time_get") i32 clock_time_get(i32, i64, void *);
WASI("fd_write") i32 fd_write(i32, void *, i32, void *);
// The component's allocator: old pointer, old size, alignment, new size. Only asked for new memory.
MAIN("realloc") void *realloc(void *, u32, u32, u32);

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
    scratch_at = (u32)allocate(8, longer);
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

// wasi: clocks, random bytes, and output into the log. There are no arguments, variables or files.

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

// Streams are numbered as file descriptors are.
EXPORT("wasi:cli/stdin#get-stdin") i32 get_stdin(void) { return 0; }

EXPORT("wasi:cli/stdout#get-stdout") i32 get_stdout(void) { return 1; }

EXPORT("wasi:cli/stderr#get-stderr") i32 get_stderr(void) { return 2; }

#define OUTPUT(name) EXPORT("wasi:io/streams#[method]output-stream." name)
#define INPUT(name) EXPORT("wasi:io/streams#[method]input-stream." name)

OUTPUT("check-write") void check_write(i32 stream, u8 *result) {
  U8(result, 0) = 0;
  U64(result, 8) = 65536;
}

static void write(i32 stream, void *bytes, i32 len, u8 *result) {
  u8 *vector = scratch(12);
  U32(vector, 0) = (u32)bytes;
  U32(vector, 4) = len;
  fd_write(stream, vector, 1, vector + 8);
  U8(result, 0) = 0;
}

OUTPUT("write") void output_write(i32 stream, void *bytes, i32 len, u8 *result) { write(stream, bytes, len, result); }

OUTPUT("blocking-write-and-flush") void output_write_flush(i32 stream, void *bytes, i32 len, u8 *result) {
  write(stream, bytes, len, result);
}

OUTPUT("flush") void output_flush(i32 stream, u8 *result) { U8(result, 0) = 0; }

OUTPUT("blocking-flush") void output_blocking_flush(i32 stream, u8 *result) { U8(result, 0) = 0; }

// The input has ended: the error `closed`.
static void closed(u8 *result, u32 offset) {
  U8(result, 0) = 1;
  U8(result, offset) = 1;
}

INPUT("read") void input_read(i32 stream, u64 len, u8 *result) { closed(result, 4); }

INPUT("blocking-read") void input_blocking_read(i32 stream, u64 len, u8 *result) { closed(result, 4); }

INPUT("skip") void input_skip(i32 stream, u64 len, u8 *result) { closed(result, 8); }

INPUT("blocking-skip") void input_blocking_skip(i32 stream, u64 len, u8 *result) { closed(result, 8); }

static void empty_list(u8 *result) {
  U32(result, 0) = 4;
  U32(result, 4) = 0;
}

EXPORT("wasi:cli/environment#get-environment") void get_environment(u8 *result) { empty_list(result); }

EXPORT("wasi:cli/environment#get-arguments") void get_arguments(u8 *result) { empty_list(result); }

EXPORT("wasi:cli/environment#initial-cwd") void initial_cwd(u8 *result) { U8(result, 0) = 0; }

EXPORT("wasi:filesystem/preopens#get-directories") void get_directories(u8 *result) { empty_list(result); }

EXPORT("wasi:cli/terminal-stdin#get-terminal-stdin") void terminal_stdin(u8 *result) { U8(result, 0) = 0; }

EXPORT("wasi:cli/terminal-stdout#get-terminal-stdout") void terminal_stdout(u8 *result) { U8(result, 0) = 0; }

EXPORT("wasi:cli/terminal-stderr#get-terminal-stderr") void terminal_stderr(u8 *result) { U8(result, 0) = 0; }

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
