// The core module of a component for the comparison with a component runtime: a call's arguments are
// operations, and the reply is an array of their results. See `probe.wat` for what is around it.

typedef unsigned char u8;
typedef unsigned int u32;
typedef int i32;
typedef long long i64;

#define DATA(name) __attribute__((import_module("data"), import_name(name))) extern
#define HOST(name) __attribute__((import_module("host"), import_name(name))) extern
#define WASI(name) __attribute__((import_module("wasi"), import_name(name))) extern

typedef struct { u8 *at; u32 len; } Bytes;

DATA("get") void get(u8 *, u32, void *);
DATA("set") void set(u8 *, u32, u8 *, u32, i32, i32, i32, i32, i64, void *);
DATA("del") void del(Bytes *, u32, void *);
DATA("exists") void exists(Bytes *, u32, void *);
DATA("incr-by") void incr_by(u8 *, u32, i64, void *);
DATA("expire") void expire(u8 *, u32, i64, void *);
DATA("ttl") void ttl(u8 *, u32, void *);
DATA("hget") void hget(u8 *, u32, u8 *, u32, void *);
DATA("hset") void hset(u8 *, u32, u8 *, u32, u8 *, u32, void *);
DATA("hdel") void hdel(u8 *, u32, Bytes *, u32, void *);
DATA("call") void call(Bytes *, u32, void *);
HOST("log") void write_log(i32, const char *, u32);
HOST("time-millis") i64 time_millis(void);
HOST("random") void fill_random(u32, void *);
WASI("now") void wall_clock_now(void *);
WASI("get-environment") void get_environment(void *);
WASI("get-stdout") i32 get_stdout(void);
WASI("write") void output_write(i32, const char *, u32, void *);
WASI("drop") void output_drop(i32);

typedef struct {
  u8 kind;
  union { u8 boolean; i64 integer; double real; Bytes bytes; u32 count; };
} Item;

enum { NONE, BOOLEAN, INTEGER, DOUBLE, BULK, SIMPLE, ERROR, ARRAY, MAPPING };

#define ITEMS_MAX 20000
static Item items[ITEMS_MAX];
static u32 used;

static Item *next(u8 kind) {
  if (used == ITEMS_MAX) __builtin_trap();
  items[used].kind = kind;
  return &items[used++];
}

static Bytes *args;
static u32 arg_at, arg_count;

static Bytes take(void) {
  if (arg_at == arg_count) __builtin_trap();
  return args[arg_at++];
}

static i64 take_int(void) {
  Bytes text = take();
  i64 value = 0;
  u32 negative = text.len && text.at[0] == '-';
  // Negative throughout, so that the least number fits.
  for (u32 i = negative; i < text.len; i++) value = value * 10 - (text.at[i] - '0');
  return negative ? value : -value;
}

static i32 is(Bytes word, const char *name) {
  u32 i = 0;
  for (; i < word.len && name[i]; i++)
    if (word.at[i] != (u8)name[i]) return 0;
  return i == word.len && !name[i];
}

static Bytes text(const char *from) {
  u32 len = 0;
  while (from[len]) len++;
  return (Bytes){(u8 *)from, len};
}

static const char *failures[] = {"denied", "read-only", "wrong-type", "invalid", "limit", "store"};

// A result: its first byte tells if it failed, the payload is at this offset.
static u8 result[64] __attribute__((aligned(8)));

static i32 failed(u32 offset) {
  if (!result[0]) return 0;
  next(ERROR)->bytes = text(failures[result[offset]]);
  return 1;
}

static void optional(void) {
  if (failed(4)) return;
  if (result[4]) next(BULK)->bytes = *(Bytes *)(result + 8);
  else next(NONE);
}

static void number(void) {
  if (!failed(4)) next(INTEGER)->integer = *(u32 *)(result + 4);
}

static void truth(void) {
  if (!failed(1)) next(BOOLEAN)->boolean = result[1];
}

static void wide(void) {
  if (!failed(8)) next(INTEGER)->integer = *(i64 *)(result + 8);
}

static void one(void) {
  Bytes op = take();
  if (is(op, "get")) {
    Bytes k = take();
    get(k.at, k.len, result);
    optional();
  } else if (is(op, "set")) {
    Bytes k = take(), v = take();
    i32 options = take_int(), condition = take_int(), keep = take_int();
    i64 ms = take_int();
    set(k.at, k.len, v.at, v.len, options, condition, keep, ms >= 0, ms, result);
    truth();
  } else if (is(op, "del") || is(op, "exists")) {
    u32 n = take_int();
    if (is(op, "del")) del(args + arg_at, n, result);
    else exists(args + arg_at, n, result);
    arg_at += n;
    number();
  } else if (is(op, "incr-by")) {
    Bytes k = take();
    incr_by(k.at, k.len, take_int(), result);
    wide();
  } else if (is(op, "expire")) {
    Bytes k = take();
    expire(k.at, k.len, take_int(), result);
    truth();
  } else if (is(op, "ttl")) {
    Bytes k = take();
    ttl(k.at, k.len, result);
    wide();
  } else if (is(op, "hget")) {
    Bytes k = take(), f = take();
    hget(k.at, k.len, f.at, f.len, result);
    optional();
  } else if (is(op, "hset")) {
    Bytes k = take(), f = take(), v = take();
    hset(k.at, k.len, f.at, f.len, v.at, v.len, result);
    truth();
  } else if (is(op, "hdel")) {
    Bytes k = take();
    u32 n = take_int();
    hdel(k.at, k.len, args + arg_at, n, result);
    arg_at += n;
    number();
  } else if (is(op, "call")) {
    u32 n = take_int();
    call(args + arg_at, n, result);
    arg_at += n;
    if (!failed(4)) {
      Item *from = *(Item **)(result + 4);
      for (u32 i = *(u32 *)(result + 8); i; i--, from++) *next(from->kind) = *from;
    }
  } else if (is(op, "host")) {
    // What differs from run to run is only looked at.
    fill_random(33, result);
    u32 random_len = *(u32 *)(result + 4);
    wall_clock_now(result);
    u32 nanos = *(u32 *)(result + 8);
    get_environment(result);
    u32 variables = *(u32 *)(result + 4);
    i32 out = get_stdout();
    output_write(out, "to the log\n", 11, result);
    output_drop(out);
    write_log(2, "told", 4);
    next(ARRAY)->count = 5;
    next(INTEGER)->integer = random_len;
    next(BOOLEAN)->boolean = nanos < 1000000000;
    next(INTEGER)->integer = variables;
    next(INTEGER)->integer = result[0];
    next(BOOLEAN)->boolean = time_millis() > 1600000000000;
  } else if (is(op, "null")) next(NONE);
  else if (is(op, "boolean")) next(BOOLEAN)->boolean = take_int();
  else if (is(op, "integer")) next(INTEGER)->integer = take_int();
  else if (is(op, "quarter")) next(DOUBLE)->real = (double)take_int() / 4;
  else if (is(op, "bulk")) next(BULK)->bytes = take();
  else if (is(op, "simple")) next(SIMPLE)->bytes = take();
  else if (is(op, "error")) next(ERROR)->bytes = take();
  else if (is(op, "array")) next(ARRAY)->count = take_int();
  else if (is(op, "mapping")) next(MAPPING)->count = take_int();
  else __builtin_trap();
}

static u32 reply[3];

__attribute__((export_name("probe"))) u32 *probe(Bytes *keys, u32 key_count, Bytes *given, u32 given_count) {
  used = 0;
  args = given;
  arg_at = 0;
  arg_count = given_count;
  // `fail` and a text: the error of the whole function.
  if (given_count == 2 && is(given[0], "fail")) {
    reply[0] = 1;
    reply[1] = (u32)given[1].at;
    reply[2] = given[1].len;
    return reply;
  }
  next(ARRAY)->count = key_count + (u32)take_int();
  for (u32 i = 0; i < key_count; i++) next(BULK)->bytes = keys[i];
  while (arg_at < arg_count) one();
  reply[0] = 0;
  reply[1] = (u32)items;
  reply[2] = used;
  return reply;
}
