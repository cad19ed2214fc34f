/* The JavaScript engine: QuickJS-ng on the host functions of Ferrite WASM.
 *
 * `ferrite-compiler` runs this module once for a program: it calls `__engine_start`, then `__engine_evaluate` with
 * the source, keeps the memory that this leaves, and adds one export for each function that the program exports.
 * The start is the same for all programs, so of its memory only what a program changes is kept for each.
 * Such an export calls `__engine_call` with the function's number. `cargo xtask engine` builds it.
 */
#include <malloc.h>
#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>

/* The engine checks its depth by the address of a frame in the linear memory, but the host's stack is what
 * ends first: a frame of JSON.parse has 16 bytes here and 211 there. So every function that checks gets a
 * larger frame; no kind of recursion then takes more than 1.8 times as much of the host's stack. */
static inline __attribute__((always_inline)) void *frame_address(void)
{
    volatile char room[160];
    room[0] = 0;
    uintptr_t address = (uintptr_t)room;
    __asm__("" : "+r"(address));
    return (void *)address;
}
#define __builtin_frame_address(level) frame_address()

/* The engine prints only for its own debugging, and would ask the host for files to do so. */
#define printf(...) 0
#define fprintf(...) 0
#define putchar(...) 0
#define fputc(...) 0
#define fputs(...) 0
#define fwrite(...) 0
#define fflush(...) 0

/* Its sources, not its header: its own limit of the stack is switched off for WASI (`update_stack_limit`). */
#include "quickjs.c"

#define HOST(name) __attribute__((import_module("ferrite"), import_name(#name))) extern
#define EXPORT(name) __attribute__((export_name(#name)))

HOST(key_count) int32_t host_key_count(void);
HOST(arg_count) int32_t host_arg_count(void);
HOST(key) int32_t host_key(int32_t index, void *buf, int32_t cap);
HOST(arg) int32_t host_arg(int32_t index, void *buf, int32_t cap);
HOST(reply_null) void host_reply_null(void);
HOST(reply_bool) void host_reply_bool(int32_t value);
HOST(reply_int) void host_reply_int(int64_t value);
HOST(reply_double) void host_reply_double(double value);
HOST(reply_bulk) void host_reply_bulk(const void *ptr, int32_t len);
HOST(reply_simple) void host_reply_simple(const void *ptr, int32_t len);
HOST(reply_error) void host_reply_error(const void *ptr, int32_t len);
HOST(reply_array) void host_reply_array(int32_t n);
HOST(reply_map) void host_reply_map(int32_t n);
HOST(get) int32_t host_get(const void *key, int32_t klen, void *buf, int32_t cap);
HOST(set) int32_t host_set(const void *key, int32_t klen, const void *val, int32_t vlen, int32_t options,
                           int64_t ttl_ms);
HOST(del) int32_t host_del(const void *pairs, int32_t count);
HOST(exists) int32_t host_exists(const void *pairs, int32_t count);
HOST(incr_by) int32_t host_incr_by(const void *key, int32_t klen, int64_t delta, void *out);
HOST(expire) int32_t host_expire(const void *key, int32_t klen, int64_t ttl_ms);
HOST(ttl) int64_t host_ttl(const void *key, int32_t klen);
HOST(hget) int32_t host_hget(const void *key, int32_t klen, const void *field, int32_t flen, void *buf,
                             int32_t cap);
HOST(hset) int32_t host_hset(const void *key, int32_t klen, const void *field, int32_t flen, const void *val,
                             int32_t vlen);
HOST(hdel) int32_t host_hdel(const void *key, int32_t klen, const void *pairs, int32_t count);
HOST(call) int32_t host_call(const void *cmd, int32_t cmdlen, const void *args, int32_t argslen, void *buf,
                             int32_t cap);
HOST(http) int32_t host_http(const void *request, int32_t len, void *buf, int32_t cap);
HOST(after_commit) int32_t host_after_commit(const void *request, int32_t len, void *buf, int32_t cap);
HOST(config) int32_t host_config(const void *name, int32_t nlen, void *buf, int32_t cap);
HOST(take) int32_t host_take(void *buf, int32_t offset, int32_t len);
HOST(log) void host_log(int32_t level, const void *ptr, int32_t len);
HOST(time_millis) int64_t host_time_millis(void);
HOST(random) void host_random(void *buf, int32_t len);

enum status { NOT_FOUND = -1, NOT_STORED = -2, DENIED = -16, READ_ONLY = -17, WRONG_TYPE = -18, INVALID = -19,
              LIMIT = -20, STORE_FAILED = -21 };
enum set_option { IF_ABSENT = 1, IF_PRESENT = 2, KEEP_TTL = 4 };
enum level { LOG_DEBUG = 1, LOG_INFO, LOG_WARN, LOG_ERROR };

/* Form in which an entry takes its keys and arguments. */
enum input { INPUT_TEXT, INPUT_BYTES, INPUT_MIXED };

/* Stack for JavaScript, in bytes of the linear memory; the host's has 512 KiB. */
#define STACK_BYTES_MAX (272 << 10)

/* Deepest array or object in a reply, as the host allows it. */
#define REPLY_DEPTH_MAX 32

/* Bytes that are allocated before the first collection of cycles. */
#define GC_THRESHOLD (4 << 20)

static JSRuntime *runtime;
static JSContext *context;

/* True during a call. Before, while the program is evaluated, no host function may be called. */
static bool in_call;

/* Results and inputs that fit take no allocation. */
static uint8_t scratch[4096];

struct entry {
    JSValue function;
    char *name;
    enum input input;
};
static struct entry *entries;
static uint32_t entry_count;

/* ---- Time and chance ---------------------------------------------------------------------------------- */

/* While a program is evaluated, its clock stands still: the value would be that of the build for good. */
static int64_t now_millis(void)
{
    return in_call ? host_time_millis() : 0;
}

int gettimeofday(struct timeval *restrict tv, void *restrict zone)
{
    int64_t now = now_millis();
    tv->tv_sec = now / 1000;
    tv->tv_usec = now % 1000 * 1000;
    return 0;
}

int clock_gettime(clockid_t clock, struct timespec *ts)
{
    int64_t now = now_millis();
    ts->tv_sec = now / 1000;
    ts->tv_nsec = now % 1000 * 1000000;
    return 0;
}

/* There are no time zones: local time is UTC. */
struct tm *localtime_r(const time_t *restrict t, struct tm *restrict tm)
{
    memset(tm, 0, sizeof *tm);
    return tm;
}

/* Fills a buffer. While a program is evaluated, the bytes are the same in every build. */
static void random_bytes(void *buf, size_t len)
{
    static uint64_t state = 0x9e3779b97f4a7c15;
    if (in_call) {
        host_random(buf, (int32_t)len);
        return;
    }
    for (size_t i = 0; i < len; i++) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        ((uint8_t *)buf)[i] = (uint8_t)(state >> 32);
    }
}

static JSValue js_host_random(JSContext *ctx, JSValueConst this, int argc, JSValueConst *argv)
{
    uint64_t bits;
    random_bytes(&bits, sizeof bits);
    return JS_NewFloat64(ctx, (double)(bits >> 11) * 0x1p-53);
}

/* random(len): random bytes. */
static JSValue js_random(JSContext *ctx, JSValueConst this, int argc, JSValueConst *argv)
{
    int64_t len;
    if (JS_ToInt64(ctx, &len, argv[0]))
        return JS_EXCEPTION;
    if (len < 0 || len > 65536)
        return JS_ThrowRangeError(ctx, "random takes a length from 0 to 65536");
    uint8_t *bytes = js_malloc(ctx, len ? len : 1);
    if (!bytes)
        return JS_EXCEPTION;
    random_bytes(bytes, len);
    JSValue array = JS_NewUint8ArrayCopy(ctx, bytes, len);
    js_free(ctx, bytes);
    return array;
}

/* ---- Growing text ------------------------------------------------------------------------------------- */

struct text {
    char *bytes;
    size_t len, room;
};

static void append(struct text *text, const void *bytes, size_t len)
{
    if (text->len + len > text->room) {
        text->room = (text->len + len) * 2 + 64;
        text->bytes = realloc(text->bytes, text->room);
        if (!text->bytes)
            __builtin_trap();
    }
    memcpy(text->bytes + text->len, bytes, len);
    text->len += len;
}

static void append_text(struct text *text, const char *string)
{
    append(text, string, strlen(string));
}

static void append_number(struct text *text, uint64_t number)
{
    char digits[24], *at = digits + sizeof digits;
    do
        *--at = (char)('0' + number % 10);
    while (number /= 10);
    append(text, at, digits + sizeof digits - at);
}

/* Bytes as a literal for messages, of at most 32 of them. */
static void append_excerpt(struct text *text, const uint8_t *bytes, size_t len)
{
    append_text(text, "\"");
    for (size_t i = 0; i < len && i < 32; i++) {
        uint8_t byte = bytes[i];
        if (byte == '"' || byte == '\\') {
            append_text(text, "\\");
            append(text, &byte, 1);
        } else if (byte < 0x20 || byte > 0x7e) {
            const char digits[] = "0123456789abcdef";
            char escape[4] = {'\\', 'x', digits[byte >> 4], digits[byte & 15]};
            append(text, escape, 4);
        } else {
            append(text, &byte, 1);
        }
    }
    append_text(text, len > 32 ? "…\"" : "\"");
}

/* Returns true if bytes are well-formed UTF-8. */
static bool is_utf8(const uint8_t *p, size_t len)
{
    const uint8_t *end = p + len;
    while (p < end) {
        uint8_t first = *p++;
        if (first < 0x80)
            continue;
        int more = first >= 0xf0 ? 3 : first >= 0xe0 ? 2 : 1;
        if (first < 0xc2 || first > 0xf4 || end - p < more)
            return false;
        if ((first == 0xe0 && *p < 0xa0) || (first == 0xed && *p > 0x9f) || (first == 0xf0 && *p < 0x90)
            || (first == 0xf4 && *p > 0x8f))
            return false;
        while (more--)
            if ((*p++ & 0xc0) != 0x80)
                return false;
    }
    return true;
}

/* ---- Errors ------------------------------------------------------------------------------------------- */

/* The class ReplyError, from `sdk/js/src/ferrite.js`. */
static JSValue reply_error_class;

/* Throws a ReplyError. */
static JSValue throw_reply_error(JSContext *ctx, const char *text, size_t len)
{
    JSValue message = JS_NewStringLen(ctx, text, len);
    JSValue error = JS_CallConstructor(ctx, reply_error_class, 1, &message);
    JS_FreeValue(ctx, message);
    return JS_IsException(error) ? error : JS_Throw(ctx, error);
}

/* Throws the error of a status that `operation` returned for `subject`. */
static JSValue throw_status(JSContext *ctx, int64_t status, const char *operation, const void *subject,
                            size_t len)
{
    const char *message = "ERR unknown status";
    struct text text = {0};
    switch (status) {
    case WRONG_TYPE:
        append_text(&text, "WRONGTYPE Operation against a key holding the wrong kind of value");
        goto whole;
    case INVALID:
        if (!strcmp(operation, "incr_by")) {
            append_text(&text, "ERR value is not an integer or out of range");
            goto whole;
        }
        message = "ERR invalid value or parameter";
        break;
    case DENIED: message = "NOPERM not permitted"; break;
    case READ_ONLY: message = "NOPERM the call may only read"; break;
    case LIMIT: message = "LIMIT a limit was reached"; break;
    case STORE_FAILED: message = "ERR the store failed"; break;
    }
    /* The code, what was asked for, and why not. */
    size_t code = (size_t)(strchr(message, ' ') - message) + 1;
    append(&text, message, code);
    append_text(&text, operation);
    append_text(&text, " ");
    append_excerpt(&text, subject, len);
    append_text(&text, ": ");
    append_text(&text, message + code);
whole:;
    JSValue thrown = throw_reply_error(ctx, text.bytes, text.len);
    free(text.bytes);
    return thrown;
}

/* Positions in the sources of a bundle: `count` times five numbers (line and column in the program, index of
 * the source, line and column there), sorted; then the names of the sources. */
struct position {
    uint32_t line, column, source, source_line, source_column;
};
static const struct position *positions;
static uint32_t position_count;
static const char **source_names;
static uint32_t source_count;
static char *program_name;

static const struct position *position_of(uint32_t line, uint32_t column)
{
    uint32_t low = 0, high = position_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        const struct position *at = &positions[middle];
        if (at->line < line || (at->line == line && at->column <= column))
            low = middle + 1;
        else
            high = middle;
    }
    return low && positions[low - 1].line == line ? &positions[low - 1] : NULL;
}

static const char *read_number(const char *at, uint32_t *number)
{
    const char *start = at;
    for (*number = 0; *at >= '0' && *at <= '9'; at++)
        *number = *number * 10 + (uint32_t)(*at - '0');
    return at == start ? NULL : at;
}

/* Appends one line of a stack, with the position in the source that the program was bundled from. */
static void append_place(struct text *text, const char *line, size_t len)
{
    size_t name_len = strlen(program_name);
    for (size_t i = 0; position_count && i + name_len + 1 < len; i++) {
        if (memcmp(line + i, program_name, name_len) || line[i + name_len] != ':')
            continue;
        uint32_t row, column;
        const char *at = read_number(line + i + name_len + 1, &row);
        if (!at || *at != ':' || !(at = read_number(at + 1, &column)))
            continue;
        const struct position *position = position_of(row, column);
        if (!position)
            break;
        append(text, line, i);
        append_text(text, source_names[position->source]);
        append_text(text, ":");
        append_number(text, position->source_line);
        append_text(text, ":");
        append_number(text, position->source_column);
        append(text, at, len - (size_t)(at - line));
        return;
    }
    append(text, line, len);
}

/* The text of a value in UTF-8, to free with JS_FreeCString. Half of a surrogate pair, which the engine writes
 * as three bytes, becomes U+FFFD, which has three bytes too. Text of such characters is never shared. */
static const char *to_utf8(JSContext *ctx, size_t *len, JSValueConst value)
{
    const char *text = JS_ToCStringLen(ctx, len, value);
    const char *end = text + *len;
    for (const char *at = text; text && (at = memchr(at, 0xed, (size_t)(end - at))); at++)
        if (end - at >= 3 && (uint8_t)at[1] >= 0xa0)
            memcpy((char *)at, "\xef\xbf\xbd", 3);
    return text;
}

/* Appends a JavaScript value as text; nothing if that throws. */
static void append_value(JSContext *ctx, struct text *text, JSValueConst value)
{
    size_t len;
    const char *string = to_utf8(ctx, &len, value);
    if (string) {
        append(text, string, len);
        JS_FreeCString(ctx, string);
    } else {
        JS_FreeValue(ctx, JS_GetException(ctx));
        append_text(text, "an error that cannot be shown");
    }
}

/* Appends an error: its message and the innermost position in one line, then its stack. */
static void append_error(JSContext *ctx, struct text *text, JSValueConst error)
{
    size_t start = text->len;
    append_value(ctx, text, error);
    for (size_t i = start; i < text->len; i++)
        if (text->bytes[i] == '\n' || text->bytes[i] == '\r')
            text->bytes[i] = ' ';
    JSValue stack = JS_IsObject(error) ? JS_GetPropertyStr(ctx, error, "stack") : JS_UNDEFINED;
    const char *lines = JS_IsString(stack) ? JS_ToCString(ctx, stack) : NULL;
    bool first = true;
    for (const char *line = lines; line && *line;) {
        const char *end = strchr(line, '\n');
        size_t len = end ? (size_t)(end - line) : strlen(line);
        while (len && *line == ' ')
            line++, len--;
        const char *place = len > 3 && !memcmp(line, "at ", 3) ? line + 3 : line;
        size_t place_len = len - (size_t)(place - line);
        /* Functions of the engine and of the SDK have no position that helps. */
        bool own = place_len && !memmem(place, place_len, "(native)", 8)
                   && !memmem(place, place_len, "ferrite-wasm:", 13);
        if (own && first) {
            struct text shown = {0};
            append_place(&shown, place, place_len);
            append_text(text, " (at ");
            /* `name (file:1:2)` without its own brackets. */
            char *open = memchr(shown.bytes, '(', shown.len);
            if (open && shown.bytes[shown.len - 1] == ')') {
                append(text, shown.bytes, (size_t)(open - shown.bytes));
                append(text, open + 1, (size_t)(shown.bytes + shown.len - open - 2));
            } else {
                append(text, shown.bytes, shown.len);
            }
            append_text(text, ")");
            free(shown.bytes);
            first = false;
        }
        line = end ? end + 1 : line + len;
    }
    for (const char *line = lines; line && *line;) {
        const char *end = strchr(line, '\n');
        size_t len = end ? (size_t)(end - line) : strlen(line);
        if (len) {
            append_text(text, "\n");
            append_place(text, line, len);
        }
        line = end ? end + 1 : line + len;
    }
    JS_FreeCString(ctx, lines);
    JS_FreeValue(ctx, stack);
}

/* Ends the call with the exception that was thrown: a trap, which undoes what the call wrote. */
static _Noreturn void fail(JSContext *ctx)
{
    JSValue error = JS_GetException(ctx);
    struct text text = {0};
    append_error(ctx, &text, error);
    host_log(LOG_ERROR, text.bytes, (int32_t)text.len);
    __builtin_trap();
}

/* ---- Bytes in and out --------------------------------------------------------------------------------- */

/* The bytes of a string, a number, or a Uint8Array. */
struct bytes {
    const char *at;
    size_t len;
    bool is_string;
};

static bool take_bytes(JSContext *ctx, JSValueConst value, const char *what, struct bytes *bytes)
{
    bytes->is_string = false;
    if (JS_IsString(value) || JS_IsNumber(value) || JS_IsBigInt(value)) {
        bytes->is_string = true;
        bytes->at = to_utf8(ctx, &bytes->len, value);
        return bytes->at != NULL;
    }
    if (JS_GetTypedArrayType(value) == JS_TYPED_ARRAY_UINT8) {
        bytes->at = (const char *)JS_GetUint8Array(ctx, &bytes->len, value);
        if (!bytes->at && bytes->len == 0)
            bytes->at = "";
        return true;
    }
    JS_ThrowTypeError(ctx, "%s must be a string, a number or a Uint8Array", what);
    return false;
}

static void free_bytes(JSContext *ctx, struct bytes *bytes)
{
    if (bytes->is_string)
        JS_FreeCString(ctx, bytes->at);
}

static bool check_call(JSContext *ctx, const char *what)
{
    if (in_call)
        return true;
    JS_ThrowPlainError(ctx, "%s was called outside of a function call: the top level of a program runs once, "
                            "when it is compiled, and there is no data then", what);
    return false;
}

/* A result of the host, of which `scratch` holds the beginning. */
static JSValue host_result(JSContext *ctx, int32_t len, bool as_bytes, const char *what, const void *subject,
                           size_t subject_len)
{
    uint8_t *bytes = scratch;
    if (len > (int32_t)sizeof scratch) {
        bytes = js_malloc(ctx, (size_t)len);
        if (!bytes)
            return JS_EXCEPTION;
        memcpy(bytes, scratch, sizeof scratch);
        host_take(bytes + sizeof scratch, sizeof scratch, len - (int32_t)sizeof scratch);
    }
    JSValue value;
    if (as_bytes) {
        value = JS_NewUint8ArrayCopy(ctx, bytes, (size_t)len);
    } else if (is_utf8(bytes, (size_t)len)) {
        value = JS_NewStringLen(ctx, (const char *)bytes, (size_t)len);
    } else {
        struct text text = {0};
        append_text(&text, "ERR the value of ");
        append_text(&text, what);
        append_text(&text, " ");
        append_excerpt(&text, subject, subject_len);
        append_text(&text, " must be UTF-8 text, not ");
        append_excerpt(&text, bytes, (size_t)len);
        value = throw_reply_error(ctx, text.bytes, text.len);
        free(text.bytes);
    }
    if (bytes != scratch)
        js_free(ctx, bytes);
    return value;
}

/* ---- Host functions ----------------------------------------------------------------------------------- */

/* get(key), getBytes(key) */
static JSValue js_get(JSContext *ctx, JSValueConst this, int argc, JSValueConst *argv, int as_bytes)
{
    struct bytes key;
    if (!check_call(ctx, "get") || !take_bytes(ctx, argv[0], "a key", &key))
        return JS_EXCEPTION;
    int32_t len = host_get(key.at, (int32_t)key.len, scratch, sizeof scratch);
    JSValue value = len == NOT_FOUND ? JS_NULL
                    : len < 0 ? throw_status(ctx, len, "get", key.at, key.len)
                              : host_result(ctx, len, as_bytes, "key", key.at, key.len);
    free_bytes(ctx, &key);
    return value;
}

/* A named option of an object: 1 if it is true. A number for `number`. */
static bool take_option(JSContext *ctx, JSValueConst options, const char *name, int *flag, int64_t *number)
{
    JSValue value = JS_GetPropertyStr(ctx, options, name);
    if (JS_IsException(value))
        return false;
    bool taken = true;
    if (flag)
        *flag = JS_ToBool(ctx, value);
    else if (!JS_IsUndefined(value))
        taken = JS_ToInt64(ctx, number, value) == 0;
    JS_FreeValue(ctx, value);
    return taken;
}

/* set(key, value, { ifAbsent, ifPresent, keepTtl, ttlMillis }) */
static JSValue js_set(JSContext *ctx, JSValueConst this, int argc, JSValueConst *argv)
{
    int absent = 0, present = 0, keep = 0;
    int64_t ttl = -1;
    if (argc > 2 && JS_IsObject(argv[2])
        && !(take_option(ctx, argv[2], "ifAbsent", &absent, NULL)
             && take_option(ctx, argv[2], "ifPresent", &present, NULL)
             && take_option(ctx, argv[2], "keepTtl", &keep, NULL)
             && take_option(ctx, argv[2], "ttlMillis", NULL, &ttl)))
        return JS_EXCEPTION;
    struct bytes key, value;
    if (!check_call(ctx, "set") || !take_bytes(ctx, argv[0], "a key", &key))
        return JS_EXCEPTION;
    JSValue result = JS_EXCEPTION;
    if (take_bytes(ctx, argv[1], "a value", &value)) {
        int32_t options = (absent ? IF_ABSENT : 0) | (present ? IF_PRESENT : 0) | (keep ? KEEP_TTL : 0);
        int32_t status = host_set(key.at, (int32_t)key.len, value.at, (int32_t)value.len, options, ttl);
        result = status == 0 || status == NOT_STORED ? JS_NewBool(ctx, status == 0)
                                                     : throw_status(ctx, status, "set", key.at, key.len);
        free_bytes(ctx, &value);
    }
    free_bytes(ctx, &key);
    return result;
}

enum pairs_operation { PAIRS_DEL, PAIRS_EXISTS, PAIRS_HDEL };

/* del(...keys), exists(...keys), hdel(key, ...fields) */
static JSValue js_pairs(JSContext *ctx, JSValueConst this, int argc, JSValueConst *argv, int operation)
{
    static const char *const names[] = {"del", "exists", "hdel"};
    if (!check_call(ctx, names[operation]))
        return JS_EXCEPTION;
    int first = operation == PAIRS_HDEL ? 1 : 0;
    int count = argc > first ? argc - first : 0;
    struct bytes *bytes = js_malloc(ctx, sizeof *bytes * (size_t)(count + 1));
    uint32_t *pairs = js_malloc(ctx, 8 * (size_t)(count + 1));
    JSValue result = JS_EXCEPTION;
    int taken = 0;
    if (!bytes || !pairs)
        goto out;
    if (first) {
        if (!take_bytes(ctx, argc ? argv[0] : JS_UNDEFINED, "a key", &bytes[count]))
            goto out;
    }
    for (; taken < count; taken++) {
        if (!take_bytes(ctx, argv[first + taken], first ? "a field" : "a key", &bytes[taken])) {
            if (first)
                free_bytes(ctx, &bytes[count]);
            goto out;
        }
        pairs[2 * taken] = (uint32_t)bytes[taken].at;
        pairs[2 * taken + 1] = (uint32_t)bytes[taken].len;
    }
    int32_t status = operation == PAIRS_DEL ? host_del(pairs, count)
                     : operation == PAIRS_EXISTS ? host_exists(pairs, count)
                     : host_hdel(bytes[count].at, (int32_t)bytes[count].len, pairs, count);
    struct bytes *subject = first || !count ? &bytes[count] : &bytes[0];
    result = status >= 0 ? JS_NewInt32(ctx, status)
                         : throw_status(ctx, status, names[operation], first || count ? subject->at : "",
                                        first || count ? subject->len : 0);
    if (first)
        free_bytes(ctx, &bytes[count]);
out:
    while (taken--)
        free_bytes(ctx, &bytes[taken]);
    js_free(ctx, bytes);
    js_free(ctx, pairs);
    return result;
}

/* A whole number of 64 bits, from a number or a bigint. */
static bool take_int64(JSContext *ctx, JSValueConst value, const char *what, int64_t *number)
{
    if (JS_IsBigInt(value)) {
        JSValue back;
        if (JS_ToBigInt64(ctx, number, value))
            return false;
        back = JS_NewBigInt64(ctx, *number);
        bool same = JS_IsStrictEqual(ctx, back, value);
        JS_FreeValue(ctx, back);
        if (same)
            return true;
    } else if (JS_IsNumber(value)) {
        double given;
        if (JS_ToFloat64(ctx, &given, value))
            return false;
        if (given == trunc(given) && fabs(given) <= 9007199254740991.0) {
            *number = (int64_t)given;
            return true;
        }
    }
    JS_ThrowRangeError(ctx, "%s must be a whole number: a number up to 2**53 - 1, or a bigint of 64 bits", what);
    return false;
}

static JSValue from_int64(JSContext *ctx, int64_t number)
{
    return number >= -9007199254740991 && number <= 9007199254740991 ? JS_NewInt64(ctx, number)
                                                                     : JS_NewBigInt64(ctx, number);
}

/* incr(key, by = 1) */
static JSValue js_incr(JSContext *ctx, JSValueConst this, int argc, JSValueConst *argv)
{
    int64_t delta = 1, sum;
    struct bytes key;
    if (!check_call(ctx, "incr")
        || (argc > 1 && !JS_IsUndefined(argv[1]) && !take_int64(ctx, argv[1], "the amount", &delta))
        || !take_bytes(ctx, argv[0], "a key", &key))
        return JS_EXCEPTION;
    int32_t status = host_incr_by(key.at, (int32_t)key.len, delta, &sum);
    JSValue result = status ? throw_status(ctx, status, "incr_by", key.at, key.len) : from_int64(ctx, sum);
    free_bytes(ctx, &key);
    return result;
}

/* expire(key, seconds), expireMillis(key, millis): `scale` is 1000 or 1. */
static JSValue js_expire(JSContext *ctx, JSValueConst this, int argc, JSValueConst *argv, int scale)
{
    int64_t time, millis;
    struct bytes key;
    if (!check_call(ctx, "expire") || !take_int64(ctx, argv[1], "the time to live", &time)
        || !take_bytes(ctx, argv[0], "a key", &key))
        return JS_EXCEPTION;
    int32_t status = __builtin_mul_overflow(time, (int64_t)scale, &millis)
                         ? INVALID
                         : host_expire(key.at, (int32_t)key.len, millis);
    JSValue result = status < 0 ? throw_status(ctx, status, "expire", key.at, key.len)
                                : JS_NewBool(ctx, status == 1);
    free_bytes(ctx, &key);
    return result;
}

/* ttl(key) */
static JSValue js_ttl(JSContext *ctx, JSValueConst this, int argc, JSValueConst *argv)
{
    struct bytes key;
    if (!check_call(ctx, "ttl") || !take_bytes(ctx, argv[0], "a key", &key))
        return JS_EXCEPTION;
    int64_t millis = host_ttl(key.at, (int32_t)key.len);
    JSValue result = millis <= DENIED ? throw_status(ctx, millis, "ttl", key.at, key.len)
                                      : JS_NewInt64(ctx, millis);
    free_bytes(ctx, &key);
    return result;
}

/* hget(key, field), hgetBytes(key, field) */
static JSValue js_hget(JSContext *ctx, JSValueConst this, int argc, JSValueConst *argv, int as_bytes)
{
    struct bytes key, field;
    if (!check_call(ctx, "hget") || !take_bytes(ctx, argv[0], "a key", &key))
        return JS_EXCEPTION;
    JSValue value = JS_EXCEPTION;
    if (take_bytes(ctx, argv[1], "a field", &field)) {
        int32_t len = host_hget(key.at, (int32_t)key.len, field.at, (int32_t)field.len, scratch,
                                sizeof scratch);
        value = len == NOT_FOUND ? JS_NULL
                : len < 0 ? throw_status(ctx, len, "hget", key.at, key.len)
                          : host_result(ctx, len, as_bytes, "a field of key", key.at, key.len);
        free_bytes(ctx, &field);
    }
    free_bytes(ctx, &key);
    return value;
}

/* hset(key, field, value) */
static JSValue js_hset(JSContext *ctx, JSValueConst this, int argc, JSValueConst *argv)
{
    struct bytes key, field, value;
    if (!check_call(ctx, "hset") || !take_bytes(ctx, argv[0], "a key", &key))
        return JS_EXCEPTION;
    JSValue result = JS_EXCEPTION;
    if (take_bytes(ctx, argv[1], "a field", &field)) {
        if (take_bytes(ctx, argv[2], "a value", &value)) {
            int32_t status = host_hset(key.at, (int32_t)key.len, field.at, (int32_t)field.len, value.at,
                                       (int32_t)value.len);
            result = status < 0 ? throw_status(ctx, status, "hset", key.at, key.len)
                                : JS_NewBool(ctx, status == 1);
            free_bytes(ctx, &value);
        }
        free_bytes(ctx, &field);
    }
    free_bytes(ctx, &key);
    return result;
}

/* log(level, text) */
static JSValue js_log(JSContext *ctx, JSValueConst this, int argc, JSValueConst *argv)
{
    int32_t level;
    size_t len;
    if (JS_ToInt32(ctx, &level, argv[0]))
        return JS_EXCEPTION;
    const char *text = to_utf8(ctx, &len, argv[1]);
    if (!text)
        return JS_EXCEPTION;
    if (in_call)
        host_log(level < 0 ? 0 : level > LOG_ERROR ? LOG_ERROR : level, text, (int32_t)len);
    JS_FreeCString(ctx, text);
    return JS_UNDEFINED;
}

/* ---- Commands ----------------------------------------------------------------------------------------- */

struct resp {
    const uint8_t *at, *end;
};

static bool resp_line(struct resp *resp, const uint8_t **line, size_t *len)
{
    const uint8_t *end = memchr(resp->at, '\r', (size_t)(resp->end - resp->at));
    if (!end || resp->end - end < 2)
        return false;
    *line = resp->at;
    *len = (size_t)(end - resp->at);
    resp->at = end + 2;
    return true;
}

static int64_t resp_number(const uint8_t *text, size_t len)
{
    bool minus = len && *text == '-';
    uint64_t number = 0;
    for (size_t i = minus; i < len; i++)
        number = number * 10 + (uint64_t)(text[i] - '0');
    return (int64_t)(minus ? -number : number);
}

/* Reads a value in RESP2. Text is a string where it is UTF-8, else a Uint8Array. An error inside of an array
 * is a ReplyError that is not thrown. */
static JSValue resp_value(JSContext *ctx, struct resp *resp, bool top, int depth)
{
    const uint8_t *line;
    size_t len;
    if (resp->at >= resp->end || depth > 64 || !resp_line(resp, &line, &len) || !len)
        return JS_ThrowInternalError(ctx, "the host's reply is malformed");
    int64_t number;
    switch (line[0]) {
    case '+':
        return JS_NewStringLen(ctx, (const char *)line + 1, len - 1);
    case '-': {
        JSValue thrown = throw_reply_error(ctx, (const char *)line + 1, len - 1);
        return top ? thrown : JS_GetException(ctx);
    }
    case ':':
        return from_int64(ctx, resp_number(line + 1, len - 1));
    case '$':
        number = resp_number(line + 1, len - 1);
        if (number < 0)
            return JS_NULL;
        if (resp->end - resp->at < number + 2)
            return JS_ThrowInternalError(ctx, "the host's reply is malformed");
        line = resp->at;
        resp->at += number + 2;
        return is_utf8(line, (size_t)number) ? JS_NewStringLen(ctx, (const char *)line, (size_t)number)
                                             : JS_NewUint8ArrayCopy(ctx, line, (size_t)number);
    case '*':
        number = resp_number(line + 1, len - 1);
        if (number < 0)
            return JS_NULL;
        JSValue array = JS_NewArray(ctx);
        for (int64_t i = 0; i < number && !JS_IsException(array); i++) {
            JSValue item = resp_value(ctx, resp, false, depth + 1);
            if (JS_IsException(item) || JS_SetPropertyInt64(ctx, array, i, item) < 0) {
                JS_FreeValue(ctx, array);
                return JS_EXCEPTION;
            }
        }
        return array;
    }
    return JS_ThrowInternalError(ctx, "the host's reply is malformed");
}

/* Appends words as the host reads a list: a RESP array of bulk strings. */
static bool append_words(JSContext *ctx, struct text *list, int argc, JSValueConst *argv)
{
    struct bytes word;
    append_text(list, "*");
    append_number(list, (uint64_t)argc);
    append_text(list, "\r\n");
    for (int i = 0; i < argc; i++) {
        if (!take_bytes(ctx, argv[i], "an argument", &word))
            return false;
        append_text(list, "$");
        append_number(list, word.len);
        append_text(list, "\r\n");
        append(list, word.at, word.len);
        append_text(list, "\r\n");
        free_bytes(ctx, &word);
    }
    return true;
}

/* A result of the host that is a value in RESP2, of which `scratch` holds the beginning. */
static JSValue host_value(JSContext *ctx, int32_t len)
{
    uint8_t *reply = scratch;
    if (len > (int32_t)sizeof scratch) {
        reply = js_malloc(ctx, (size_t)len);
        if (!reply)
            return JS_EXCEPTION;
        memcpy(reply, scratch, sizeof scratch);
        host_take(reply + sizeof scratch, sizeof scratch, len - (int32_t)sizeof scratch);
    }
    struct resp resp = {reply, reply + len};
    JSValue result = resp_value(ctx, &resp, true, 0);
    if (reply != scratch)
        js_free(ctx, reply);
    return result;
}

/* call(command, ...args) */
static JSValue js_call(JSContext *ctx, JSValueConst this, int argc, JSValueConst *argv)
{
    struct bytes command;
    if (!check_call(ctx, "call") || !take_bytes(ctx, argv[0], "a command", &command))
        return JS_EXCEPTION;
    struct text args = {0};
    JSValue result = JS_EXCEPTION;
    if (append_words(ctx, &args, argc > 1 ? argc - 1 : 0, argv + 1)) {
        int32_t len = host_call(command.at, (int32_t)command.len, args.bytes, (int32_t)args.len, scratch,
                                sizeof scratch);
        result = len < 0 ? throw_status(ctx, len, "call", command.at, command.len) : host_value(ctx, len);
    }
    free(args.bytes);
    free_bytes(ctx, &command);
    return result;
}

/* http(method, url, body, ...headers), afterCommit(method, url, body, ...headers) */
static JSValue js_request(JSContext *ctx, JSValueConst this, int argc, JSValueConst *argv, int after_commit)
{
    struct bytes url;
    if (!check_call(ctx, after_commit ? "afterCommit" : "fetch") || !take_bytes(ctx, argv[1], "a URL", &url))
        return JS_EXCEPTION;
    struct text list = {0};
    JSValue result = JS_EXCEPTION;
    if (append_words(ctx, &list, argc, argv)) {
        int32_t len = after_commit ? host_after_commit(list.bytes, (int32_t)list.len, scratch, sizeof scratch)
                                   : host_http(list.bytes, (int32_t)list.len, scratch, sizeof scratch);
        const char *name = after_commit ? "after_commit" : "http";
        result = len < 0 ? throw_status(ctx, len, name, url.at, url.len) : host_value(ctx, len);
    }
    free(list.bytes);
    free_bytes(ctx, &url);
    return result;
}

/* config(name) */
static JSValue js_config(JSContext *ctx, JSValueConst this, int argc, JSValueConst *argv)
{
    struct bytes name;
    if (!check_call(ctx, "config") || !take_bytes(ctx, argv[0], "a name", &name))
        return JS_EXCEPTION;
    int32_t len = host_config(name.at, (int32_t)name.len, scratch, sizeof scratch);
    JSValue value = len == NOT_FOUND ? JS_NULL
                    : len < 0 ? throw_status(ctx, len, "config", name.at, name.len)
                              : host_result(ctx, len, false, "the configuration", name.at, name.len);
    free_bytes(ctx, &name);
    return value;
}

/* ---- Text in UTF-8 ------------------------------------------------------------------------------------ */

/* encode(text): its bytes. */
static JSValue js_encode(JSContext *ctx, JSValueConst this, int argc, JSValueConst *argv)
{
    size_t len;
    const char *text = to_utf8(ctx, &len, argv[0]);
    if (!text)
        return JS_EXCEPTION;
    JSValue bytes = JS_NewUint8ArrayCopy(ctx, (const uint8_t *)text, len);
    JS_FreeCString(ctx, text);
    return bytes;
}

/* decode(bytes, strict): the text; null if it is not UTF-8 and must be, else with U+FFFD in place of it. */
static JSValue js_decode(JSContext *ctx, JSValueConst this, int argc, JSValueConst *argv)
{
    struct bytes bytes;
    if (!take_bytes(ctx, argv[0], "the input", &bytes))
        return JS_EXCEPTION;
    JSValue text = JS_ToBool(ctx, argv[1]) && !is_utf8((const uint8_t *)bytes.at, bytes.len)
                       ? JS_NULL
                       : JS_NewStringLen(ctx, bytes.at, bytes.len);
    free_bytes(ctx, &bytes);
    return text;
}

/* ---- Modules ------------------------------------------------------------------------------------------ */

/* The property of a function that says in which form it takes its input. */
#define INPUT_PROPERTY "ferrite.input"

/* mark(function, input): sets the form in which an entry takes keys and arguments. */
static JSValue js_mark(JSContext *ctx, JSValueConst this, int argc, JSValueConst *argv)
{
    if (!JS_IsFunction(ctx, argv[0]))
        return JS_ThrowTypeError(ctx, "an entry must be a function");
    if (JS_DefinePropertyValueStr(ctx, argv[0], INPUT_PROPERTY, JS_DupValue(ctx, argv[1]),
                                  JS_PROP_CONFIGURABLE) < 0)
        return JS_EXCEPTION;
    return JS_DupValue(ctx, argv[0]);
}

/* useReplyError(class): tells the engine the class of error replies. */
static JSValue js_use_reply_error(JSContext *ctx, JSValueConst this, int argc, JSValueConst *argv)
{
    reply_error_class = JS_DupValue(ctx, argv[0]);
    return JS_UNDEFINED;
}

static const JSCFunctionListEntry host_functions[] = {
    JS_CFUNC_MAGIC_DEF("get", 1, js_get, 0),
    JS_CFUNC_MAGIC_DEF("getBytes", 1, js_get, 1),
    JS_CFUNC_DEF("set", 2, js_set),
    JS_CFUNC_MAGIC_DEF("del", 1, js_pairs, PAIRS_DEL),
    JS_CFUNC_MAGIC_DEF("exists", 1, js_pairs, PAIRS_EXISTS),
    JS_CFUNC_DEF("incr", 1, js_incr),
    JS_CFUNC_MAGIC_DEF("expire", 2, js_expire, 1000),
    JS_CFUNC_MAGIC_DEF("expireMillis", 2, js_expire, 1),
    JS_CFUNC_DEF("ttl", 1, js_ttl),
    JS_CFUNC_MAGIC_DEF("hget", 2, js_hget, 0),
    JS_CFUNC_MAGIC_DEF("hgetBytes", 2, js_hget, 1),
    JS_CFUNC_DEF("hset", 3, js_hset),
    JS_CFUNC_MAGIC_DEF("hdel", 1, js_pairs, PAIRS_HDEL),
    JS_CFUNC_DEF("call", 1, js_call),
    JS_CFUNC_MAGIC_DEF("http", 3, js_request, false),
    JS_CFUNC_MAGIC_DEF("afterCommit", 3, js_request, true),
    JS_CFUNC_DEF("config", 1, js_config),
    JS_CFUNC_DEF("log", 2, js_log),
    JS_CFUNC_DEF("random", 1, js_random),
    JS_CFUNC_DEF("encode", 1, js_encode),
    JS_CFUNC_DEF("decode", 2, js_decode),
    JS_CFUNC_DEF("mark", 2, js_mark),
    JS_CFUNC_DEF("useReplyError", 1, js_use_reply_error),
};
#define HOST_FUNCTIONS (sizeof host_functions / sizeof *host_functions)

static int init_host(JSContext *ctx, JSModuleDef *module)
{
    return JS_SetModuleExportList(ctx, module, host_functions, HOST_FUNCTIONS);
}

/* The SDK, which every program can import. */
static const char sdk[] = {
#embed "../../sdk/js/src/ferrite.js"
    , 0};
static const char fetch[] = {
#embed "../../sdk/js/src/fetch.js"
    , 0};
static const char globals[] = {
#embed "../../sdk/js/src/globals.js"
    , 0};

static JSModuleDef *compile_module(JSContext *ctx, const char *source, size_t len, const char *name)
{
    JSValue compiled = JS_Eval(ctx, source, len, name, JS_EVAL_TYPE_MODULE | JS_EVAL_FLAG_COMPILE_ONLY);
    if (JS_IsException(compiled))
        return NULL;
    JSModuleDef *module = JS_VALUE_GET_PTR(compiled);
    JS_FreeValue(ctx, compiled);
    return module;
}

/* Finds the module that an import names. Programs are one file; only the SDK can be imported. */
static JSModuleDef *load_module(JSContext *ctx, const char *name, void *opaque)
{
    if (!strcmp(name, "ferrite-wasm"))
        return compile_module(ctx, sdk, sizeof sdk - 1, "ferrite-wasm");
    if (!strcmp(name, "ferrite-wasm:fetch"))
        return compile_module(ctx, fetch, sizeof fetch - 1, "ferrite-wasm:fetch");
    JS_ThrowReferenceError(ctx, "there is no module '%s': a program is one file and can import only 'ferrite-wasm'; "
                                "`ferrite-wasmc build` bundles files and packages into one", name);
    return NULL;
}

static char *keep_name(JSContext *ctx, const char *base, const char *name, void *opaque)
{
    /* Only the SDK has more than one file. */
    bool own = !strcmp(base, "ferrite-wasm") && !strcmp(name, "./fetch.js");
    return js_strdup(ctx, own ? "ferrite-wasm:fetch" : name);
}

/* ---- Memory ------------------------------------------------------------------------------------------- */

/* What the program frees while it is evaluated is cleared: all memory that is not zero is in the module. */
static void engine_free(void *opaque, void *at)
{
    if (!in_call && at)
        memset(at, 0, malloc_usable_size(at));
    free(at);
}

static void *engine_calloc(void *opaque, size_t count, size_t size)
{
    return calloc(count, size);
}

static void *engine_malloc(void *opaque, size_t size)
{
    return malloc(size);
}

static void *engine_realloc(void *opaque, void *at, size_t size)
{
    if (in_call || !at)
        return realloc(at, size);
    size_t old = malloc_usable_size(at);
    if (size <= old)
        return at;
    void *moved = malloc(size);
    if (moved) {
        memcpy(moved, at, old);
        engine_free(opaque, at);
    }
    return moved;
}

static const JSMallocFunctions allocator = {
    engine_calloc, engine_malloc, engine_free, engine_realloc, js__malloc_usable_size,
};

/* Drops the texts of functions, which only `toString` shows: each function has one, those in it included. */
static void drop_sources(void)
{
    struct list_head *at;
    list_for_each(at, &runtime->gc_obj_list) {
        JSGCObjectHeader *object = list_entry(at, JSGCObjectHeader, link);
        if (JS_GC_TYPE(object) != JS_GC_OBJ_TYPE_FUNCTION_BYTECODE)
            continue;
        JSFunctionBytecode *function = (JSFunctionBytecode *)object;
        js_free_rt(runtime, function->source);
        function->source = NULL;
        function->source_len = 0;
    }
}

/* ---- Evaluation --------------------------------------------------------------------------------------- */

/* Runs promise jobs until there are none. Returns false if one of them threw. */
static bool run_jobs(void)
{
    JSContext *ctx;
    int more;
    while ((more = JS_ExecutePendingJob(runtime, &ctx)) > 0)
        ;
    return more == 0;
}

/* Waits for a promise. Returns what it was fulfilled with; throws what it was rejected with. */
static JSValue settled(JSContext *ctx, JSValue promise, const char *what)
{
    if (!run_jobs()) {
        JS_FreeValue(ctx, promise);
        return JS_EXCEPTION;
    }
    JSPromiseStateEnum state = JS_PromiseState(ctx, promise);
    JSValue result = state == JS_PROMISE_PENDING
                         ? JS_ThrowPlainError(ctx, "%s waits for a promise that nothing will settle", what)
                         : JS_PromiseResult(ctx, promise);
    JS_FreeValue(ctx, promise);
    return state == JS_PROMISE_REJECTED ? JS_Throw(ctx, result) : result;
}

/* Compiles and runs the top level of a module. */
static JSModuleDef *evaluate_module(JSContext *ctx, const char *source, size_t len, const char *name)
{
    JSModuleDef *module = compile_module(ctx, source, len, name);
    if (!module)
        return NULL;
    JSValue done = JS_EvalFunction(ctx, JS_DupValue(ctx, JS_MKPTR(JS_TAG_MODULE, module)));
    if (JS_IsException(done))
        return NULL;
    done = settled(ctx, done, "the top level of the program");
    if (JS_IsException(done))
        return NULL;
    JS_FreeValue(ctx, done);
    return module;
}

/* Returns true if the host calls an export of this name itself, so that it cannot be an entry. */
static bool is_reserved(const char *name)
{
    return !strcmp(name, "memory") || !strcmp(name, "alloc") || !strcmp(name, "dealloc")
           || !strcmp(name, "_initialize") || !strcmp(name, "_start") || !strncmp(name, "cabi_", 5)
           || !strncmp(name, "__", 2);
}

/* Appends the triggers and schedules that the program declares: the texts of its export `automation`, each
 * after a tab and with a line feed at its end. */
static bool append_automation(JSContext *ctx, JSModuleDef *module, struct text *text)
{
    JSValue names_of = JS_GetModuleNamespace(ctx, module);
    JSValue list = JS_GetPropertyStr(ctx, names_of, "automation");
    if (JS_IsException(list))
        return false;
    if (JS_IsUndefined(list) || JS_IsFunction(ctx, list)) {
        JS_FreeValue(ctx, list);
        return true;
    }
    int64_t count = 0;
    if (!JS_IsArray(list)) {
        JS_ThrowTypeError(ctx, "the export 'automation' is no array; write such as "
                               "`export const automation = [every('sweep', '5m')]`");
        return false;
    }
    if (JS_GetLength(ctx, list, &count))
        return false;
    for (int64_t i = 0; i < count; i++) {
        JSValue item = JS_GetPropertyInt64(ctx, list, i);
        size_t len = 0;
        const char *line = JS_IsString(item) ? JS_ToCStringLen(ctx, &len, item) : NULL;
        bool plain = line != NULL;
        for (size_t at = 0; plain && at < len; at++)
            plain = (unsigned char)line[at] >= ' ';
        if (!plain) {
            JS_ThrowTypeError(ctx, "element %d of the export 'automation' is no text of one line; make it "
                                   "with on, every or cron of ferrite-wasm", (int)i);
            return false;
        }
        append_text(text, "\t");
        append_text(text, line);
        append_text(text, "\n");
        JS_FreeCString(ctx, line);
        JS_FreeValue(ctx, item);
    }
    JS_FreeValue(ctx, list);
    return true;
}

/* Collects the functions that the program exports. A default export is the entry `run`. */
static bool collect_entries(JSContext *ctx, JSModuleDef *module)
{
    JSValue names_of = JS_GetModuleNamespace(ctx, module);
    JSPropertyEnum *names;
    uint32_t count;
    if (JS_GetOwnPropertyNames(ctx, &names, &count, names_of, JS_GPN_STRING_MASK | JS_GPN_ENUM_ONLY))
        return false;
    entries = calloc(count + 1, sizeof *entries);
    for (uint32_t i = 0; i < count; i++) {
        JSValue value = JS_GetProperty(ctx, names_of, names[i].atom);
        if (JS_IsException(value))
            return false;
        if (!JS_IsFunction(ctx, value)) {
            JS_FreeValue(ctx, value);
            continue;
        }
        const char *name = JS_AtomToCString(ctx, names[i].atom);
        if (!name)
            return false;
        struct entry *entry = &entries[entry_count];
        entry->name = strdup(strcmp(name, "default") ? name : "run");
        entry->function = value;
        JS_FreeCString(ctx, name);
        if (is_reserved(entry->name)) {
            JS_ThrowPlainError(ctx, "the export '%s' cannot be an entry, because the host reserves its name; "
                                    "rename it", entry->name);
            return false;
        }
        for (uint32_t other = 0; other < entry_count; other++)
            if (!strcmp(entries[other].name, entry->name)) {
                JS_ThrowPlainError(ctx, "the program exports 'run' and a default, which is called 'run' too; "
                                        "leave one out");
                return false;
            }
        JSValue input = JS_GetPropertyStr(ctx, value, INPUT_PROPERTY);
        int32_t form = INPUT_TEXT;
        if (!JS_IsUndefined(input) && JS_ToInt32(ctx, &form, input))
            return false;
        entry->input = (enum input)form;
        entry_count++;
    }
    JS_FreePropertyEnum(ctx, names, count);
    if (entry_count == 0) {
        JS_ThrowPlainError(ctx, "the program exports no function, so there is nothing to call; write "
                                "`export function run(keys, args) { … }`");
        return false;
    }
    return true;
}

/* Lets deep recursion end in a RangeError, wherever the stack begins now. */
static void limit_stack(void)
{
    runtime->stack_top = js_get_stack_pointer();
    runtime->stack_limit = runtime->stack_top - STACK_BYTES_MAX;
}

static bool start_engine(void)
{
    runtime = JS_NewRuntime2(&allocator, NULL);
    limit_stack();
    JS_SetGCThreshold(runtime, GC_THRESHOLD);
    JS_SetModuleLoaderFunc(runtime, keep_name, load_module, NULL);
    context = JS_NewContext(runtime);
    JSContext *ctx = context;
    JSModuleDef *host = JS_NewCModule(ctx, "#host", init_host);
    if (!host || JS_AddModuleExportList(ctx, host, host_functions, HOST_FUNCTIONS))
        return false;
    JSValue global = JS_GetGlobalObject(ctx), math = JS_GetPropertyStr(ctx, global, "Math");
    JS_DefinePropertyValueStr(ctx, math, "random", JS_NewCFunction(ctx, js_host_random, "random", 0),
                              JS_PROP_WRITABLE | JS_PROP_CONFIGURABLE);
    JS_FreeValue(ctx, math);
    JS_FreeValue(ctx, global);
    return evaluate_module(ctx, globals, sizeof globals - 1, "ferrite-wasm:globals") != NULL;
}

/* Makes the context on which a program is evaluated. Returns false if there is no memory for it. */
EXPORT(__engine_start) bool engine_start(void)
{
    bool started = start_engine();
    /* What an evaluation collects anyway is not kept for all programs. */
    JS_RunGC(runtime);
    return started;
}

/* The result of an evaluation, for the compiler. */
struct outcome {
    uint32_t failed;
    char *text;
    uint32_t len;
};

/* Allocates a buffer for `__engine_evaluate`. */
EXPORT(__engine_buffer) void *engine_buffer(uint32_t len)
{
    return malloc(len ? len : 1);
}

/* Reads the table of positions: number of sources, their names (each a length and bytes, the end 0), padding
 * to 4 bytes, number of positions, positions. The compiler writes it. */
static void use_positions(char *table, uint32_t len)
{
    char *at = table;
    memcpy(&source_count, at, 4);
    at += 4;
    source_names = malloc(sizeof *source_names * (source_count + 1));
    for (uint32_t i = 0; i < source_count; i++) {
        source_names[i] = at;
        at += strlen(at) + 1;
    }
    at += (4 - ((uintptr_t)at & 3)) & 3;
    memcpy(&position_count, at, 4);
    positions = (const struct position *)(at + 4);
}

/* Evaluates a program, once, after the start. The source is followed by a zero byte. Returns the triggers and
 * schedules that it declares and the names of its entries, each with a line feed at its end, or an error. */
EXPORT(__engine_evaluate)
const struct outcome *engine_evaluate(char *source, uint32_t len, char *name, char *table, uint32_t table_len)
{
    static struct outcome outcome;
    struct text text = {0};
    program_name = name;
    if (table_len)
        use_positions(table, table_len);
    limit_stack();
    JSModuleDef *module = evaluate_module(context, source, len, name);
    if (module && collect_entries(context, module) && append_automation(context, module, &text)) {
        for (uint32_t i = 0; i < entry_count; i++) {
            append_text(&text, entries[i].name);
            append_text(&text, "\n");
        }
        memset(source, 0, len);
        free(source);
        drop_sources();
        JS_RunGC(runtime);
    } else {
        outcome.failed = 1;
        text.len = 0;
        JSValue error = JS_GetException(context);
        append_error(context, &text, error);
    }
    outcome.text = text.bytes;
    outcome.len = (uint32_t)text.len;
    in_call = true;
    return &outcome;
}

/* ---- Calls -------------------------------------------------------------------------------------------- */

/* The keys or arguments of a call as an array; JS_UNDEFINED if the call was answered with an error. */
static JSValue take_list(JSContext *ctx, const struct entry *entry, const char *list, int32_t count,
                         int32_t (*take)(int32_t, void *, int32_t))
{
    JSValue array = JS_NewArray(ctx);
    for (int32_t i = 0; i < count; i++) {
        uint8_t *bytes = scratch;
        int32_t len = take(i, scratch, sizeof scratch);
        if (len > (int32_t)sizeof scratch) {
            bytes = js_malloc(ctx, (size_t)len);
            if (!bytes)
                fail(ctx);
            take(i, bytes, len);
        }
        bool utf8 = entry->input != INPUT_BYTES && is_utf8(bytes, (size_t)len);
        JSValue value;
        if (utf8) {
            value = JS_NewStringLen(ctx, (const char *)bytes, (size_t)len);
        } else if (entry->input == INPUT_TEXT) {
            struct text text = {0};
            append_text(&text, "ERR ");
            append_text(&text, entry->name);
            append_text(&text, ": ");
            append_text(&text, list);
            append_text(&text, "[");
            append_number(&text, (uint64_t)i + 1);
            append_text(&text, "] must be UTF-8 text, not ");
            append_excerpt(&text, bytes, (size_t)len);
            host_reply_error(text.bytes, (int32_t)text.len);
            free(text.bytes);
            JS_FreeValue(ctx, array);
            return JS_UNDEFINED;
        } else {
            value = JS_NewUint8ArrayCopy(ctx, bytes, (size_t)len);
        }
        if (bytes != scratch)
            js_free(ctx, bytes);
        if (JS_IsException(value) || JS_SetPropertyInt64(ctx, array, i, value) < 0)
            fail(ctx);
    }
    return array;
}

static bool is_reply_error(JSContext *ctx, JSValueConst value)
{
    return JS_IsError(value) && JS_IsInstanceOf(ctx, value, reply_error_class) == 1;
}

static void reply_error(JSContext *ctx, JSValueConst error)
{
    JSValue message = JS_GetPropertyStr(ctx, error, "message");
    struct text text = {0};
    append_value(ctx, &text, message);
    JS_FreeValue(ctx, message);
    host_reply_error(text.bytes, (int32_t)text.len);
    free(text.bytes);
}

static void reply(JSContext *ctx, JSValueConst value, int depth);

/* Replies an object whose enumerable properties are the pairs of a map. */
static void reply_object(JSContext *ctx, JSValueConst value, int depth)
{
    JSPropertyEnum *names;
    uint32_t count;
    if (JS_GetOwnPropertyNames(ctx, &names, &count, value, JS_GPN_STRING_MASK | JS_GPN_ENUM_ONLY))
        fail(ctx);
    host_reply_map((int32_t)count);
    for (uint32_t i = 0; i < count; i++) {
        JSValue name = JS_AtomToString(ctx, names[i].atom);
        reply(ctx, name, depth + 1);
        JS_FreeValue(ctx, name);
        JSValue item = JS_GetProperty(ctx, value, names[i].atom);
        if (JS_IsException(item))
            fail(ctx);
        reply(ctx, item, depth + 1);
        JS_FreeValue(ctx, item);
    }
    JS_FreePropertyEnum(ctx, names, count);
}

/* Replies the elements of an array; for the entries of a Map, their keys and values. */
static void reply_items(JSContext *ctx, JSValueConst array, bool pairs, int depth)
{
    int64_t count;
    if (JS_GetLength(ctx, array, &count))
        fail(ctx);
    if (pairs)
        host_reply_map((int32_t)count);
    else
        host_reply_array((int32_t)count);
    for (int64_t i = 0; i < count; i++) {
        JSValue item = JS_GetPropertyInt64(ctx, array, i);
        if (JS_IsException(item))
            fail(ctx);
        if (pairs) {
            for (int64_t side = 0; side < 2; side++) {
                JSValue half = JS_GetPropertyInt64(ctx, item, side);
                reply(ctx, half, depth + 1);
                JS_FreeValue(ctx, half);
            }
        } else {
            reply(ctx, item, depth + 1);
        }
        JS_FreeValue(ctx, item);
    }
}

/* Calls `Array.from(value)`. */
static JSValue array_from(JSContext *ctx, JSValueConst value)
{
    JSValue global = JS_GetGlobalObject(ctx), array = JS_GetPropertyStr(ctx, global, "Array");
    JSValue from = JS_GetPropertyStr(ctx, array, "from");
    JSValue items = JS_Call(ctx, from, array, 1, &value);
    JS_FreeValue(ctx, from);
    JS_FreeValue(ctx, array);
    JS_FreeValue(ctx, global);
    if (JS_IsException(items))
        fail(ctx);
    return items;
}

/* Writes a value as one reply. */
static void reply(JSContext *ctx, JSValueConst value, int depth)
{
    int tag = JS_VALUE_GET_NORM_TAG(value);
    switch (tag) {
    case JS_TAG_UNDEFINED:
    case JS_TAG_NULL: host_reply_null(); return;
    case JS_TAG_BOOL: host_reply_bool(JS_VALUE_GET_BOOL(value)); return;
    case JS_TAG_INT: host_reply_int(JS_VALUE_GET_INT(value)); return;
    case JS_TAG_FLOAT64: {
        double number = JS_VALUE_GET_FLOAT64(value);
        if (number == trunc(number) && fabs(number) <= 9007199254740991.0)
            host_reply_int((int64_t)number);
        else
            host_reply_double(number);
        return;
    }
    }
    if (JS_IsBigInt(value)) {
        int64_t number;
        if (JS_ToBigInt64(ctx, &number, value))
            fail(ctx);
        JSValue back = JS_NewBigInt64(ctx, number);
        if (JS_IsStrictEqual(ctx, back, value)) {
            host_reply_int(number);
            JS_FreeValue(ctx, back);
            return;
        }
        /* More than 64 bits are text. */
    }
    struct bytes bytes;
    if (JS_IsString(value) || JS_IsBigInt(value) || JS_GetTypedArrayType(value) == JS_TYPED_ARRAY_UINT8) {
        if (!take_bytes(ctx, value, "a reply", &bytes))
            fail(ctx);
        host_reply_bulk(bytes.at, (int32_t)bytes.len);
        free_bytes(ctx, &bytes);
        return;
    }
    if (!JS_IsObject(value) || JS_IsFunction(ctx, value)) {
        JS_ThrowTypeError(ctx, "a function or a symbol cannot be a reply");
        fail(ctx);
    }
    if (depth > REPLY_DEPTH_MAX) {
        JS_ThrowRangeError(ctx, "the reply nests deeper than %d arrays or objects; make it flatter", REPLY_DEPTH_MAX);
        fail(ctx);
    }
    if (JS_IsError(value)) {
        reply_error(ctx, value);
    } else if (JS_IsArray(value)) {
        reply_items(ctx, value, false, depth);
    } else if (JS_IsMap(value)) {
        JSValue pairs = array_from(ctx, value);
        reply_items(ctx, pairs, true, depth);
        JS_FreeValue(ctx, pairs);
    } else if (JS_IsSet(value) || JS_GetTypedArrayType(value) >= 0) {
        JSValue items = array_from(ctx, value);
        reply_items(ctx, items, false, depth);
        JS_FreeValue(ctx, items);
    } else if (JS_IsDate(value)) {
        JSValue method = JS_GetPropertyStr(ctx, value, "toISOString");
        JSValue text = JS_Call(ctx, method, value, 0, NULL);
        if (JS_IsException(text))
            fail(ctx);
        reply(ctx, text, depth);
        JS_FreeValue(ctx, text);
        JS_FreeValue(ctx, method);
    } else {
        reply_object(ctx, value, depth);
    }
}

/* Calls the program's function of this number: keys and arguments in, its result or its error out. */
EXPORT(__engine_call) void engine_call(uint32_t index)
{
    JSContext *ctx = context;
    const struct entry *entry = &entries[index];
    limit_stack();
    JSValue keys = take_list(ctx, entry, "KEYS", host_key_count(), host_key);
    if (JS_IsUndefined(keys))
        return;
    JSValue args = take_list(ctx, entry, "ARGS", host_arg_count(), host_arg);
    if (JS_IsUndefined(args))
        return;
    JSValueConst inputs[] = {keys, args};
    JSValue result = JS_Call(ctx, entry->function, JS_UNDEFINED, 2, inputs);
    if (JS_IsPromise(result))
        result = settled(ctx, result, entry->name);
    else if (!JS_IsException(result) && !run_jobs())
        result = JS_EXCEPTION;
    if (JS_IsException(result)) {
        JSValue error = JS_GetException(ctx);
        if (!is_reply_error(ctx, error)) {
            JS_Throw(ctx, error);
            fail(ctx);
        }
        reply_error(ctx, error);
        JS_FreeValue(ctx, error);
    } else if (!JS_IsUndefined(result)) {
        reply(ctx, result, 0);
    }
    JS_FreeValue(ctx, result);
    JS_FreeValue(ctx, args);
    JS_FreeValue(ctx, keys);
}
