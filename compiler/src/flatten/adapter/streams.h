// wasi:io: streams, what can be waited for, and errors of streams; and the memory of such resources.
//
// The handle of a resource is its address, or the number of a standard stream, which is that of its
// file descriptor. A resource begins with its kind, so that a handle of another kind, or of a resource
// that was dropped, ends the call. Nothing waits: bodies are whole in memory and files are the host's, so all streams are
// ready.

enum {
  DROPPED,
  FIELDS,
  REQUEST,
  OPTIONS,
  OUTGOING_BODY,
  OUTPUT_STREAM,
  FUTURE,
  RESPONSE,
  INCOMING_BODY,
  INPUT_STREAM,
  TRAILERS,
  POLLABLE,
  STREAM_ERROR,
  DESCRIPTOR,
  FILE_INPUT,
  FILE_OUTPUT,
  LISTING,
};

#define STANDARD_STREAMS 3

static void *resource(void *handle, u32 kind) {
  if ((u32)handle < STANDARD_STREAMS || U32(handle, 0) != kind) __builtin_trap();
  return handle;
}

// Blocks that were given back: each has its length and the next one in front.
static __attribute__((address_space(1))) u32 free_blocks;

#define BLOCK_HEAD 8

// Takes memory that the adapter gives back itself.
static void *take_block(u32 len) {
  if (len > 0x7fffff00) __builtin_trap();
  u32 before = 0;
  for (u32 at = free_blocks; at; before = at, at = U32(at, 4)) {
    u32 has = U32(at, 0);
    // Not one that is much too long, which a long body may need.
    if (has < len || has / 2 > len + 64) continue;
    if (before) U32(before, 4) = U32(at, 4);
    else free_blocks = U32(at, 4);
    return (u8 *)at + BLOCK_HEAD;
  }
  u32 size = (len + 15) & ~15;
  u8 *block = own(0, 0, 8, BLOCK_HEAD + size);
  U32(block, 0) = size;
  return block + BLOCK_HEAD;
}

static void give_block(void *block) {
  if (!block) return;
  u8 *head = (u8 *)block - BLOCK_HEAD;
  U32(head, 4) = free_blocks;
  free_blocks = (u32)head;
}

static void *new_resource(u32 kind, u32 size) {
  u8 *made = take_block(size);
  __builtin_memset(made, 0, size);
  U32(made, 0) = kind;
  return made;
}

static void forget(void *handle) {
  U32(handle, 0) = DROPPED;
  give_block(handle);
}

typedef struct {
  u8 *at;
  u32 len;
} Bytes;

// Lets `bytes` have a copy in place of what it had.
static void replace(Bytes *bytes, void *from, u32 len) {
  give_block(bytes->at);
  bytes->at = take_block(len);
  bytes->len = len;
  if (len) __builtin_memcpy(bytes->at, from, len);
}

// Copies bytes into a list at `list`, which belongs to the component.
static void give_list(void *list, void *from, u32 len) {
  u8 *bytes = allocate(1, len);
  if (len) __builtin_memcpy(bytes, from, len);
  U32(list, 0) = (u32)bytes;
  U32(list, 4) = len;
}

// Words are given as numbers, because there is no data.
#define LETTER(word, i) ((i) < sizeof(word) - 1 ? (u64)(u8)(word)[(i) < sizeof(word) ? (i) : 0] << 8 * ((i) % 8) : 0)
#define EIGHT(word, i)                                                                                              \
  (LETTER(word, i) | LETTER(word, (i) + 1) | LETTER(word, (i) + 2) | LETTER(word, (i) + 3) | LETTER(word, (i) + 4) | \
   LETTER(word, (i) + 5) | LETTER(word, (i) + 6) | LETTER(word, (i) + 7))
#define WORD(word) EIGHT(word, 0), EIGHT(word, 8), EIGHT(word, 16), sizeof(word) - 1

static u8 letter_of(u64 first, u64 second, u64 third, u32 i) {
  return (i < 8 ? first : i < 16 ? second : third) >> 8 * (i % 8);
}

static u8 lower(u8 letter) { return letter >= 'A' && letter <= 'Z' ? letter + 32 : letter; }

// Compares with a word in lower case, whatever the case of the text is.
static i32 is_word(u8 *text, u32 len, u64 first, u64 second, u64 third, u32 word_len) {
  i32 same = len == word_len;
  for (u32 i = 0; same && i < len; i++) same = lower(text[i]) == letter_of(first, second, third, i);
  return same;
}

// Appends a word; returns its end.
static u8 *write_word(u8 *to, u64 first, u64 second, u64 third, u32 len) {
  for (u32 i = 0; i < len; i++) *to++ = letter_of(first, second, third, i);
  return to;
}

// A body that is being written.
typedef struct Request Request;
typedef struct Future Future;

enum { BODY_OPEN, BODY_FINISHED, BODY_BROKEN };

typedef struct {
  u32 kind;
  u32 state;
  // True until the component finishes or drops it.
  u32 is_held;
  // The request that the body is of, until that is sent or dropped.
  Request *request;
  // The future of the response, once the request was handed over.
  Future *future;
  u32 stream_taken, stream_open;
  u8 *at;
  u32 len, room;
  // The header `content-length`, if there is one.
  u32 is_declared;
  u64 declared;
} OutgoingBody;

typedef struct {
  u32 kind;
  OutgoingBody *body;
} Output;

// A body that has arrived.
typedef struct {
  u32 kind;
  u32 stream_taken, stream_open;
  // The block that the bytes are in.
  void *reply;
  u8 *at;
  u32 len;
} IncomingBody;

typedef struct {
  u32 kind;
  IncomingBody *body;
  u8 *at;
  u32 left;
} Input;

typedef struct {
  u32 kind;
  // The error number of a file; 0 for a body that becomes longer than it was declared to be.
  i32 number;
  // Bytes of that body.
  u64 size;
} StreamError;

EXPORT("wasi:cli/stdin#get-stdin") i32 get_stdin(void) { return 0; }

EXPORT("wasi:cli/stdout#get-stdout") i32 get_stdout(void) { return 1; }

EXPORT("wasi:cli/stderr#get-stderr") i32 get_stderr(void) { return 2; }

#define OUTPUT(name) EXPORT("wasi:io/streams#[method]output-stream." name)
#define INPUT(name) EXPORT("wasi:io/streams#[method]input-stream." name)

// Most bytes of one read or write.
#define CHUNK 65536

// Writes the error `closed`, with the variant at `offset`.
static void closed(u8 *result, u32 offset) {
  U8(result, 0) = 1;
  U8(result, offset) = 1;
}

// Writes the error `last-operation-failed`, with the variant at `offset`.
static void stream_failed(u8 *result, u32 offset, i32 number, u64 size) {
  StreamError *error = new_resource(STREAM_ERROR, sizeof(StreamError));
  error->number = number;
  error->size = size;
  U8(result, 0) = 1;
  U8(result, offset) = 0;
  U32(result, offset + 4) = (u32)error;
}

static i32 write_file(void *stream, void *bytes, u32 len, u8 *result, u32 offset);

// Appends to a body or to the log, or writes to a file; returns false if the result has the error, its variant at
// `offset`.
static i32 write(void *stream, void *bytes, u32 len, u8 *result, u32 offset) {
  U8(result, 0) = 0;
  if ((u32)stream < STANDARD_STREAMS) {
    u8 *vector = scratch(12);
    U32(vector, 0) = (u32)bytes;
    U32(vector, 4) = len;
    fd_write((i32)stream, vector, 1, vector + 8);
    return 1;
  }
  if (U32(stream, 0) == FILE_OUTPUT) return write_file(stream, bytes, len, result, offset);
  OutgoingBody *body = ((Output *)resource(stream, OUTPUT_STREAM))->body;
  if (body->state != BODY_OPEN) {
    closed(result, offset);
    return 0;
  }
  u64 whole = (u64)body->len + len;
  if (body->is_declared && whole > body->declared) {
    body->state = BODY_BROKEN;
    stream_failed(result, offset, 0, whole);
    return 0;
  }
  if (whole > 0x7fffff00) __builtin_trap();
  if (whole > body->room) {
    u32 room = whole > 2 * (u64)body->room ? whole : 2 * body->room;
    u8 *longer = take_block(room);
    if (body->len) __builtin_memcpy(longer, body->at, body->len);
    give_block(body->at);
    body->at = longer;
    body->room = room;
  }
  if (len) __builtin_memcpy(body->at + body->len, bytes, len);
  body->len = whole;
  return 1;
}

// Returns true if the body of a stream takes nothing more.
static i32 is_closed(void *stream) {
  if ((u32)stream < STANDARD_STREAMS || U32(stream, 0) == FILE_OUTPUT) return 0;
  return ((Output *)resource(stream, OUTPUT_STREAM))->body->state != BODY_OPEN;
}

OUTPUT("check-write") void check_write(void *stream, u8 *result) {
  if (is_closed(stream)) return closed(result, 8);
  U8(result, 0) = 0;
  U64(result, 8) = CHUNK;
}

OUTPUT("write") void output_write(void *stream, void *bytes, u32 len, u8 *result) {
  write(stream, bytes, len, result, 4);
}

OUTPUT("blocking-write-and-flush") void output_write_flush(void *stream, void *bytes, u32 len, u8 *result) {
  write(stream, bytes, len, result, 4);
}

static void write_zeroes(void *stream, u64 len, u8 *result) {
  // More than `check-write` allows.
  if (len > CHUNK) __builtin_trap();
  u8 *zeroes = take_block(len);
  __builtin_memset(zeroes, 0, len);
  write(stream, zeroes, len, result, 4);
  give_block(zeroes);
}

OUTPUT("write-zeroes") void output_zeroes(void *stream, u64 len, u8 *result) { write_zeroes(stream, len, result); }

OUTPUT("blocking-write-zeroes-and-flush") void output_zeroes_flush(void *stream, u64 len, u8 *result) {
  write_zeroes(stream, len, result);
}

static void flush(void *stream, u8 *result) {
  if (is_closed(stream)) return closed(result, 4);
  U8(result, 0) = 0;
}

OUTPUT("flush") void output_flush(void *stream, u8 *result) { flush(stream, result); }

OUTPUT("blocking-flush") void output_blocking_flush(void *stream, u8 *result) { flush(stream, result); }

static i32 read_file(void *stream, u32 len, u8 *result, u32 offset);

// Takes at most `len` bytes from a stream. Their address is at `offset` then and their number behind it, both until
// the result is written; returns false if the result has the error, its variant at `offset`.
static i32 take_input(void *stream, u64 len, u8 *result, u32 offset) {
  u32 most = len < CHUNK ? len : CHUNK;
  U8(result, 0) = 0;
  if ((u32)stream >= STANDARD_STREAMS && U32(stream, 0) == FILE_INPUT) return read_file(stream, most, result, offset);
  // Standard input is at its end from the start.
  Input *input = (u32)stream < STANDARD_STREAMS ? 0 : resource(stream, INPUT_STREAM);
  if (!input || !input->left) {
    closed(result, offset);
    return 0;
  }
  u32 found = input->left < most ? input->left : most;
  U32(result, offset) = (u32)input->at;
  U32(result, offset + 4) = found;
  input->at += found;
  input->left -= found;
  return 1;
}

static void read(void *stream, u64 len, u8 *result) {
  if (take_input(stream, len, result, 4)) give_list(result + 4, (void *)U32(result, 4), U32(result, 8));
}

static void skip(void *stream, u64 len, u8 *result) {
  if (take_input(stream, len, result, 8)) U64(result, 8) = U32(result, 12);
}

INPUT("read") void input_read(void *stream, u64 len, u8 *result) { read(stream, len, result); }

INPUT("blocking-read") void input_blocking_read(void *stream, u64 len, u8 *result) { read(stream, len, result); }

INPUT("skip") void input_skip(void *stream, u64 len, u8 *result) { skip(stream, len, result); }

INPUT("blocking-skip") void input_blocking_skip(void *stream, u64 len, u8 *result) { skip(stream, len, result); }

static void splice(void *stream, void *source, u64 len, u8 *result) {
  if (!take_input(source, len, result, 8)) return;
  u32 found = U32(result, 12);
  if (write(stream, (void *)U32(result, 8), found, result, 8)) U64(result, 8) = found;
}

OUTPUT("splice") void output_splice(void *stream, void *source, u64 len, u8 *result) {
  splice(stream, source, len, result);
}

OUTPUT("blocking-splice") void output_blocking_splice(void *stream, void *source, u64 len, u8 *result) {
  splice(stream, source, len, result);
}

static u8 *write_file_error(u8 *to, i32 number);

EXPORT("wasi:io/error#[method]error.to-debug-string") void error_text(StreamError *handle, u8 *result) {
  StreamError *error = resource(handle, STREAM_ERROR);
  u8 *text = scratch(24);
  u8 *end = error->number ? write_file_error(text, error->number) : write_word(text, WORD("HTTP-request-body-size"));
  give_list(result, text, end - text);
}

// Things to wait for. Only the response to a request whose body is not finished is not there yet, and a
// time that has not come. A call does not sleep: where nothing else is ready, the time has come.

typedef struct {
  u32 kind;
  Future *future;
  u64 time;
} Pollable;

static i32 is_waiting(Future *future);
static void fail_unfinished(Future *future);

static Pollable *pollable(Future *future, u64 time) {
  Pollable *made = new_resource(POLLABLE, sizeof(Pollable));
  made->future = future;
  made->time = time;
  return made;
}

static i32 is_ready(Pollable *handle) {
  Pollable *it = resource(handle, POLLABLE);
  return it->time ? it->time <= monotonic_clock_now() : !is_waiting(it->future);
}

INPUT("subscribe") void *input_subscribe(void *stream) { return pollable(0, 0); }

OUTPUT("subscribe") void *output_subscribe(void *stream) { return pollable(0, 0); }

EXPORT("wasi:clocks/monotonic-clock#subscribe-instant") void *subscribe_instant(u64 time) { return pollable(0, time); }

EXPORT("wasi:clocks/monotonic-clock#subscribe-duration") void *subscribe_duration(u64 nanos) {
  u64 now = monotonic_clock_now();
  return pollable(0, now + nanos < now ? -1 : now + nanos);
}

EXPORT("wasi:io/poll#[method]pollable.ready") i32 pollable_ready(Pollable *handle) { return is_ready(handle); }

EXPORT("wasi:io/poll#[method]pollable.block") void pollable_block(Pollable *handle) {
  if (!is_ready(handle) && !handle->time) fail_unfinished(handle->future);
}

EXPORT("wasi:io/poll#poll") void poll(Pollable **list, u32 n, u8 *result) {
  if (!n) __builtin_trap();
  u32 found = 0, times = 0;
  for (u32 i = 0; i < n; i++) {
    found += is_ready(list[i]);
    times += list[i]->time != 0;
  }
  // Otherwise nothing can happen any more but that a time comes, or else that the guest gives up.
  i32 nothing = !found;
  if (nothing) found = times ? times : n;
  u32 *ready = allocate(4, found * 4), *end = ready + found, *to = ready;
  for (u32 i = 0; i < n && to < end; i++) {
    if (nothing && !times) fail_unfinished(list[i]->future);
    // A time may have come meanwhile.
    if (nothing && times ? list[i]->time != 0 : is_ready(list[i])) *to++ = i;
  }
  U32(result, 0) = (u32)ready;
  U32(result, 4) = found;
}
