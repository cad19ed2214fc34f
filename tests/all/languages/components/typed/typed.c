// The core module of a component whose functions have types of their own. See `typed.wat` for the types.

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef int i32;
typedef long long i64;
typedef unsigned long long u64;

#define EXPORT(name) __attribute__((export_name(name)))

typedef struct { void *at; u32 len; } List;

// echo

typedef struct {
  u8 flag; signed char s8; u8 u8_; short s16; u16 u16_; i32 s32; u32 u32_; i64 s64; u64 u64_;
  List text, bytes;
} Echo;

static Echo echoed;

EXPORT("echo")
Echo *echo(i32 flag, i32 a, i32 b, i32 c, i32 d, i32 e, u32 f, i64 g, u64 h, void *text, u32 text_len, void *bytes,
           u32 bytes_len) {
  echoed = (Echo){flag, a, b, c, d, e, f, g, h, {text, text_len}, {bytes, bytes_len}};
  return &echoed;
}

// missing

typedef struct {
  List name;
  struct { u8 is_some; u32 value; } count;
  struct { u8 is_some; u8 value; } flag;
  struct { u8 is_some; List value; } note;
  List rest;
} Missing;

static Missing missed;

EXPORT("missing")
Missing *missing(void *name, u32 name_len, i32 has_count, u32 count, i32 has_flag, i32 flag, i32 has_note, void *note,
                 u32 note_len, void *rest, u32 rest_len) {
  missed = (Missing){{name, name_len}, {has_count, count}, {has_flag, flag}, {has_note, {note, note_len}}, {rest, rest_len}};
  return &missed;
}

// numbers

typedef struct { i64 sum; double half; float third; } Numbers;

static Numbers numbered;

EXPORT("numbers") Numbers *numbers(short *list, u32 len) {
  i64 sum = 0;
  for (u32 i = 0; i < len; i++) sum += list[i];
  numbered = (Numbers){sum, sum / 2.0, sum / 3.0f};
  return &numbered;
}

EXPORT("largest") u64 largest(u64 *list, u32 len) {
  u64 most = 0;
  for (u32 i = 0; i < len; i++) most = list[i] > most ? list[i] : most;
  return most;
}

EXPORT("half") double half(i64 n) { return n / 2.0; }

EXPORT("letter") u32 letter(u32 n) {
  n %= 0x110000;
  return n >= 0xd800 && n < 0xe000 ? 'x' : n;
}

EXPORT("color") i32 color(u32 n) { return n % 3; }

EXPORT("nothing") void nothing(void *text, u32 len) {}

EXPORT("wrapped") i32 wrapped(i32 n) { return n; }

EXPORT("verdict") i32 verdict(i32 n) { return n < 0; }

// shapes

typedef struct { u16 n; List name; } Pair;
typedef struct { u8 kind; union { u8 small; i64 large; List names; }; } Shape;
typedef struct { u8 failed; union { List list; List text; }; } Result;
typedef struct { u8 failed; union { u32 n; u8 color; }; } Coded;
typedef struct {
  struct { u8 is_some; Pair pair; } pair;
  List shapes;
  List maybe;
  u8 color;
  u32 letter;
} Shapes;

static Pair pairs[4];
static Shape shapes_of[4];
static struct { u8 is_some; double value; } maybes[4];
static Shapes shaped;

EXPORT("shapes") Shapes *shapes(u32 n, void *text, u32 len) {
  List name = {text, len};
  for (u32 i = 0; i < 4; i++) {
    pairs[i] = (Pair){n + i, name};
    Shape *shape = &shapes_of[i];
    shape->kind = (n + i) % 4;
    if (shape->kind == 1) shape->small = n % 2;
    else if (shape->kind == 2) shape->large = -(i64)n;
    else if (shape->kind == 3) shape->names = (List){pairs, n % 4};
    maybes[i].is_some = n >> i & 1;
    maybes[i].value = n * 0.5;
  }
  shaped = (Shapes){{n % 2, pairs[0]}, {shapes_of, n % 5}, {maybes, n % 5}, n % 3, 'a' + n % 26};
  return &shaped;
}

static Result resulted;

EXPORT("result") Result *result(i32 n, void *text, u32 len) {
  resulted.failed = n < 0;
  if (n < 0) resulted.text = (List){text, len};
  else resulted.list = (List){pairs, n % 4};
  for (u32 i = 0; i < 4; i++) pairs[i] = (Pair){i, {text, len}};
  return &resulted;
}

static Coded coded_of;

EXPORT("coded") Coded *coded(i32 n) {
  coded_of.failed = n < 0;
  if (n < 0) coded_of.color = (u32)-n % 3;
  else coded_of.n = n;
  return &coded_of;
}

static u32 ended;

EXPORT("cabi_post_echo") void post_echo(Echo *echo) { ended++; }
EXPORT("cabi_post_half") void post_half(double value) { ended++; }
