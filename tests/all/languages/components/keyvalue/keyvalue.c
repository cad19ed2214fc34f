// The core module of a component that knows `wasi:keyvalue` in both drafts, and `wasi:logging`. Its
// entry goes through their functions and replies what each gave. See `keyvalue.wat`.

typedef unsigned char u8;
typedef unsigned int u32;
typedef int i32;
typedef long long i64;
typedef unsigned long long u64;

#define IMPORT(module, name) __attribute__((import_module(module), import_name(name))) extern

typedef struct { const char *at; u32 len; } Bytes;

#define STORE(draft, n)                                                                   \
  IMPORT(draft, "open") void open_##n(const char *, u32, void *);                        \
  IMPORT(draft, "get") void get_##n(u32, const char *, u32, void *);                     \
  IMPORT(draft, "set") void set_##n(u32, const char *, u32, const char *, u32, void *);  \
  IMPORT(draft, "delete") void delete_##n(u32, const char *, u32, void *);               \
  IMPORT(draft, "exists") void exists_##n(u32, const char *, u32, void *);               \
  IMPORT(draft, "increment") void increment_##n(u32, const char *, u32, i64, void *);    \
  IMPORT(draft, "get-many") void get_many_##n(u32, Bytes *, u32, void *);                \
  IMPORT(draft, "set-many") void set_many_##n(u32, Bytes *, u32, void *);                \
  IMPORT(draft, "delete-many") void delete_many_##n(u32, Bytes *, u32, void *);          \
  IMPORT(draft, "drop") void drop_##n(u32);
STORE("draft1", 1)
STORE("draft2", 2)
IMPORT("draft1", "list-keys") void list_keys_1(u32, i32, u64, void *);
IMPORT("draft2", "list-keys") void list_keys_2(u32, i32, const char *, u32, void *);
IMPORT("draft2", "cas-new") void cas_new(u32, const char *, u32, void *);
IMPORT("draft2", "cas-current") void cas_current(u32, void *);
IMPORT("draft2", "swap") void swap(u32, const char *, u32, void *);
IMPORT("logging", "log") void write_log(i32, const char *, u32, const char *, u32);

typedef struct {
  u8 kind;
  union { u8 boolean; i64 integer; Bytes bytes; u32 count; };
} Item;
enum { NONE, BOOLEAN, INTEGER, DOUBLE, BULK, SIMPLE, ERROR, ARRAY };

static Item items[200];
static u32 used;
static u32 reply[3];
static u8 result[64] __attribute__((aligned(8)));

static Item *next(u8 kind) {
  items[used].kind = kind;
  return &items[used++];
}

static u32 word(u32 at) { return *(u32 *)(result + at); }

static Bytes bytes(u32 at) { return *(Bytes *)(result + at); }

#define T(text) text, sizeof(text) - 1
#define B(text) {text, sizeof(text) - 1}

// The error of a result, with its payload at `at`.
static void failed(u32 at) {
  if (result[at] == 0) next(ERROR)->bytes = (Bytes)B("ERR no such store");
  else if (result[at] == 1) next(ERROR)->bytes = (Bytes)B("ERR access denied");
  else next(SIMPLE)->bytes = bytes(at + 4);
}

static void unit(void) {
  if (result[0]) failed(4);
  else next(BULK)->bytes = (Bytes)B("done");
}

static void optional(void) {
  if (result[0]) failed(4);
  else if (result[4]) next(BULK)->bytes = bytes(8);
  else next(NONE);
}

static void truth(void) {
  if (result[0]) failed(4);
  else next(BOOLEAN)->boolean = result[4];
}

static void number(void) {
  if (result[0]) failed(8);
  else next(INTEGER)->integer = *(i64 *)(result + 8);
}

static void keys(u32 at) {
  u32 n = word(at + 4);
  Bytes *list = (Bytes *)word(at);
  next(ARRAY)->count = n;
  for (u32 i = 0; i < n; i++) next(BULK)->bytes = list[i];
}

static u32 opened(void) { return word(4); }

static u32 *done(u32 values) {
  items[0].kind = ARRAY;
  items[0].count = values;
  reply[0] = 0;
  reply[1] = (u32)items;
  reply[2] = used;
  return reply;
}

__attribute__((export_name("second"))) u32 *second(Bytes *k, u32 kn, Bytes *a, u32 an) {
  used = 1;
  open_2(T("users"), result);
  u32 users = opened();
  set_2(users, T("a"), T("1"), result), unit();
  get_2(users, T("a"), result), optional();
  get_2(users, T("nothing"), result), optional();
  exists_2(users, T("a"), result), truth();
  increment_2(users, T("n"), 5, result), number();
  increment_2(users, T("n"), -7, result), number();
  set_2(users, T("text"), T("x"), result), unit();
  increment_2(users, T("text"), 1, result), number();
  cas_new(users, T("a"), result);
  u32 cas = opened();
  cas_current(cas, result), optional();
  set_2(users, T("a"), T("2"), result), unit();
  swap(cas, T("3"), result);
  next(INTEGER)->integer = result[0] * 10 + result[4];
  cas = word(8);
  swap(cas, T("4"), result);
  next(INTEGER)->integer = result[0];
  get_2(users, T("a"), result), optional();
  Bytes pairs[] = {B("p"), B("1"), B("q"), B("2")};
  set_many_2(users, pairs, 2, result), unit();
  Bytes wanted[] = {B("q"), B("nothing")};
  get_many_2(users, wanted, 2, result);
  // Each pair is a text and a value that may be missing.
  u8 *pair = (u8 *)word(4);
  next(ARRAY)->count = 4;
  for (u32 i = 0; i < 2; i++, pair += 20) {
    next(BULK)->bytes = *(Bytes *)pair;
    if (pair[8]) next(BULK)->bytes = *(Bytes *)(pair + 12);
    else next(NONE);
  }
  delete_many_2(users, wanted, 2, result), unit();
  delete_2(users, T("text"), result), unit();
  list_keys_2(users, 0, 0, 0, result);
  keys(4);
  next(INTEGER)->integer = result[12];
  drop_2(users);
  open_2(T("default"), result);
  u32 all = opened();
  get_2(all, T("users:a"), result), optional();
  get_2(all, T("secret"), result), optional();
  write_log(5, T("probe"), T("was critical"));
  return done(21);
}

__attribute__((export_name("first"))) u32 *first(Bytes *k, u32 kn, Bytes *a, u32 an) {
  used = 1;
  open_1(T("users"), result);
  u32 users = opened();
  set_1(users, T("a"), T("1"), result), unit();
  get_1(users, T("a"), result), optional();
  exists_1(users, T("b"), result), truth();
  increment_1(users, T("n"), 3, result), number();
  Bytes pairs[] = {B("p"), B("1")};
  set_many_1(users, pairs, 1, result), unit();
  Bytes wanted[] = {B("p"), B("nothing")};
  get_many_1(users, wanted, 2, result);
  // Each pair may be missing.
  u8 *pair = (u8 *)word(4);
  next(ARRAY)->count = 3;
  next(BOOLEAN)->boolean = pair[0];
  next(BULK)->bytes = *(Bytes *)(pair + 12);
  next(BOOLEAN)->boolean = pair[20];
  delete_many_1(users, wanted, 2, result), unit();
  delete_1(users, T("n"), result), unit();
  list_keys_1(users, 1, 0, result);
  keys(8);
  next(INTEGER)->integer = result[16];
  drop_1(users);
  return done(10);
}
