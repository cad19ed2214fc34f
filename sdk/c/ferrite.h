/*
 * ferrite.h: write Ferrite WASM functions in C.
 *
 * One header, no library. Needs a C11 compiler for wasm32 with a C library (wasi-libc), of which it
 * uses malloc, free, memcpy, memcmp and strtod.
 *
 *     #include "ferrite.h"
 *
 *     FERRITE_FUNCTION(rate_limit, "key, limit, window_secs")
 *     {
 *         ferrite_bytes key;
 *         int64_t limit, window_secs, current = 0;
 *         if (!ferrite_take_text("key", &key) || !ferrite_take_i64("limit", &limit)
 *             || !ferrite_take_i64("window_secs", &window_secs) || !ferrite_take_end()
 *             || !ferrite_get_i64(key, &current, NULL))
 *             return false;
 *         if (current >= limit)
 *             return ferrite_reply_bool(false);
 *         if (!ferrite_incr_by(key, 1, NULL))
 *             return false;
 *         if (current == 0 && !ferrite_expire(key, window_secs, NULL))
 *             return false;
 *         return ferrite_reply_bool(true);
 *     }
 *
 * Every function that can fail returns false and keeps an error; a body that returns false replies
 * that error. A body that returns true must have replied itself, exactly once.
 *
 * Bytes that a function returns belong to the call: they are valid until the body returns, and must
 * not be freed. An out-parameter may be NULL if its value is not needed.
 *
 * Build: cc --target=wasm32-wasi -mexec-model=reactor -Os -Wl,-z,stack-size=65536 file.c -o file.wasm
 * With clang add -Wl,--stack-first, as zig does by itself: a stack that overflows then ends the call.
 */
#ifndef FERRITE_H
#define FERRITE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* ---- The ABI: the functions of a host, version 1 ---- */

#define FERRITE_ABI_VERSION 1

/* Statuses. Those from FERRITE_DENIED down are errors. */
#define FERRITE_NOT_FOUND (-1)
#define FERRITE_NOT_STORED (-2)
#define FERRITE_DENIED (-16)
#define FERRITE_READ_ONLY (-17)
#define FERRITE_WRONG_TYPE (-18)
#define FERRITE_INVALID (-19)
#define FERRITE_LIMIT (-20)
#define FERRITE_STORE (-21)

/* Options of ferrite_set. */
#define FERRITE_NX 1
#define FERRITE_XX 2
#define FERRITE_KEEPTTL 4

/* Levels of ferrite_log. */
#define FERRITE_TRACE 0
#define FERRITE_DEBUG 1
#define FERRITE_INFO 2
#define FERRITE_WARN 3
#define FERRITE_ERROR 4

#define FERRITE_IMPORT(name) __attribute__((import_module("ferrite"), import_name(#name))) extern

FERRITE_IMPORT(key_count) int32_t ferrite_abi_key_count(void);
FERRITE_IMPORT(arg_count) int32_t ferrite_abi_arg_count(void);
FERRITE_IMPORT(key) int32_t ferrite_abi_key(int32_t index, void *buf, int32_t cap);
FERRITE_IMPORT(arg) int32_t ferrite_abi_arg(int32_t index, void *buf, int32_t cap);
FERRITE_IMPORT(reply_null) void ferrite_abi_reply_null(void);
FERRITE_IMPORT(reply_bool) void ferrite_abi_reply_bool(int32_t value);
FERRITE_IMPORT(reply_int) void ferrite_abi_reply_int(int64_t value);
FERRITE_IMPORT(reply_double) void ferrite_abi_reply_double(double value);
FERRITE_IMPORT(reply_bulk) void ferrite_abi_reply_bulk(const void *ptr, int32_t len);
FERRITE_IMPORT(reply_simple) void ferrite_abi_reply_simple(const void *ptr, int32_t len);
FERRITE_IMPORT(reply_error) void ferrite_abi_reply_error(const void *ptr, int32_t len);
FERRITE_IMPORT(reply_array) void ferrite_abi_reply_array(int32_t n);
FERRITE_IMPORT(reply_map) void ferrite_abi_reply_map(int32_t n);
FERRITE_IMPORT(get) int32_t ferrite_abi_get(const void *key, int32_t klen, void *buf, int32_t cap);
FERRITE_IMPORT(set) int32_t ferrite_abi_set(const void *key, int32_t klen, const void *val,
                                            int32_t vlen, int32_t options, int64_t ttl_ms);
FERRITE_IMPORT(del) int32_t ferrite_abi_del(const void *pairs, int32_t count);
FERRITE_IMPORT(exists) int32_t ferrite_abi_exists(const void *pairs, int32_t count);
FERRITE_IMPORT(incr_by) int32_t ferrite_abi_incr_by(const void *key, int32_t klen, int64_t delta,
                                                    int64_t *out);
FERRITE_IMPORT(expire) int32_t ferrite_abi_expire(const void *key, int32_t klen, int64_t ttl_ms);
FERRITE_IMPORT(ttl) int64_t ferrite_abi_ttl(const void *key, int32_t klen);
FERRITE_IMPORT(hget) int32_t ferrite_abi_hget(const void *key, int32_t klen, const void *field,
                                              int32_t flen, void *buf, int32_t cap);
FERRITE_IMPORT(hset) int32_t ferrite_abi_hset(const void *key, int32_t klen, const void *field,
                                              int32_t flen, const void *val, int32_t vlen);
FERRITE_IMPORT(hdel) int32_t ferrite_abi_hdel(const void *key, int32_t klen, const void *pairs,
                                              int32_t count);
FERRITE_IMPORT(call) int32_t ferrite_abi_call(const void *cmd, int32_t cmdlen, const void *args,
                                              int32_t argslen, void *buf, int32_t cap);
FERRITE_IMPORT(http) int32_t ferrite_abi_http(const void *request, int32_t len, void *buf,
                                              int32_t cap);
FERRITE_IMPORT(after_commit) int32_t ferrite_abi_after_commit(const void *request, int32_t len,
                                                              void *buf, int32_t cap);
FERRITE_IMPORT(config) int32_t ferrite_abi_config(const void *name, int32_t nlen, void *buf,
                                                  int32_t cap);
FERRITE_IMPORT(take) int32_t ferrite_abi_take(void *buf, int32_t offset, int32_t len);
FERRITE_IMPORT(log) void ferrite_abi_log(int32_t level, const void *ptr, int32_t len);
FERRITE_IMPORT(time_millis) int64_t ferrite_abi_time_millis(void);
FERRITE_IMPORT(random) void ferrite_abi_random(void *buf, int32_t len);

/* ---- Bytes, and memory that belongs to the call ---- */

/* A piece of memory. Text in it need not end in a zero byte. An array of two of them is one of the
 * ABI's pairs. */
typedef struct {
    const char *ptr;
    uint32_t len;
} ferrite_bytes;

#define FERRITE_UNUSED __attribute__((unused))
#define FERRITE_FN FERRITE_UNUSED static

struct ferrite_block {
    struct ferrite_block *next;
    max_align_t data[];
};

/* Bytes of a call's memory that are part of the module's from the start. A call that needs no more does
 * not grow the memory, which a host undoes after each call, for several microseconds. Other machines have
 * none of it, so that their tools see every allocation. */
#ifndef __wasm__
#undef FERRITE_FIRST_BYTES
#define FERRITE_FIRST_BYTES 0
#elif !defined(FERRITE_FIRST_BYTES)
#define FERRITE_FIRST_BYTES 16384
#endif

/* The current call: its memory, the memory of its scans' pages, its error, the number of inputs taken,
 * and its first bytes, of which `used` are taken. */
FERRITE_UNUSED static struct {
    struct ferrite_block *blocks, *pages;
    ferrite_bytes error;
    const char *name;
    const char *parameters;
    int32_t taken;
    size_t used;
    max_align_t first[FERRITE_FIRST_BYTES / sizeof(max_align_t) + 1];
} ferrite_state;

/* Logs a message and traps, for internal errors. The whole call is undone. */
FERRITE_FN _Noreturn void ferrite_panic(const char *message)
{
    ferrite_abi_log(FERRITE_ERROR, message, (int32_t)strlen(message));
    __builtin_trap();
}

/* Adds a block to a list, with whose others it is given back. */
FERRITE_FN void *ferrite_link(struct ferrite_block **list, struct ferrite_block *block)
{
    if (!block)
        ferrite_panic("panic: out of memory");
    block->next = *list;
    *list = block;
    return block->data;
}

/* The size of a block for `size` bytes, or of none that there can be. */
FERRITE_FN size_t ferrite_block_size(size_t size)
{
    return size < SIZE_MAX / 2 ? sizeof(struct ferrite_block) + size : SIZE_MAX / 2;
}

/* Allocates memory that belongs to the call. */
FERRITE_FN void *ferrite_alloc(size_t size)
{
    size_t whole = ferrite_block_size(size), align = sizeof(max_align_t);
    if (ferrite_state.used + whole > FERRITE_FIRST_BYTES)
        return ferrite_link(&ferrite_state.blocks, malloc(whole));
    void *block = (char *)ferrite_state.first + ferrite_state.used;
    ferrite_state.used += (whole + align - 1) / align * align;
    return ferrite_link(&ferrite_state.blocks, block);
}

/* Gives back a block of the call's memory. The newest goes first. */
FERRITE_FN void ferrite_free(struct ferrite_block *block)
{
    size_t place = (uintptr_t)block - (uintptr_t)ferrite_state.first, end = FERRITE_FIRST_BYTES;
    if (place < end)
        ferrite_state.used = place;
    else
        free(block);
}

/* Gives back the memory that came into a list after the block `mark`. */
FERRITE_FN void ferrite_free_to(struct ferrite_block **list, const struct ferrite_block *mark)
{
    while (*list != mark) {
        struct ferrite_block *block = *list;
        *list = block->next;
        ferrite_free(block);
    }
}

/* The present end of the call's memory, for ferrite_release. */
typedef struct {
    struct ferrite_block *last;
} ferrite_mark;

FERRITE_FN ferrite_mark ferrite_set_mark(void)
{
    return (ferrite_mark){ ferrite_state.blocks };
}

/* Gives back what the call has allocated since a mark, before the body returns: for loops that go
 * through very much. Functions of this header that return bytes allocate, and so does keeping an error.
 * The names that a scan returns do not belong to it. Marks are released in the opposite order. */
FERRITE_FN void ferrite_release(ferrite_mark mark)
{
    ferrite_free_to(&ferrite_state.blocks, mark.last);
}

/* The bytes of a C string. */
FERRITE_FN ferrite_bytes ferrite_text(const char *text)
{
    return (ferrite_bytes){ text, (uint32_t)strlen(text) };
}

FERRITE_FN bool ferrite_equal(ferrite_bytes left, ferrite_bytes right)
{
    return left.len == right.len && memcmp(left.ptr, right.ptr, left.len) == 0;
}

/* Returns true if bytes equal the text of a C string. */
FERRITE_FN bool ferrite_is(ferrite_bytes bytes, const char *text)
{
    return ferrite_equal(bytes, ferrite_text(text));
}

/* Compares bytes as numbers from 0 to 255: less than 0, 0, or more. */
FERRITE_FN int ferrite_compare(ferrite_bytes left, ferrite_bytes right)
{
    uint32_t common = left.len < right.len ? left.len : right.len;
    int order = memcmp(left.ptr, right.ptr, common);
    return order ? order : (left.len > right.len) - (left.len < right.len);
}

/* Joins pieces into new bytes. */
FERRITE_FN ferrite_bytes ferrite_join(const ferrite_bytes *pieces, size_t count)
{
    size_t len = 0;
    for (size_t i = 0; i < count; i++)
        len += pieces[i].len;
    char *joined = ferrite_alloc(len), *end = joined;
    for (size_t i = 0; i < count; i++) {
        memcpy(end, pieces[i].ptr, pieces[i].len);
        end += pieces[i].len;
    }
    return (ferrite_bytes){ joined, (uint32_t)len };
}

#define FERRITE_JOIN(...)                                                                          \
    ferrite_join((ferrite_bytes[]){ __VA_ARGS__ },                                                 \
                 sizeof((ferrite_bytes[]){ __VA_ARGS__ }) / sizeof(ferrite_bytes))

/* The decimal text of an integer. */
FERRITE_FN ferrite_bytes ferrite_decimal(int64_t number)
{
    char *text = ferrite_alloc(20), *end = text + 20, *start = end;
    uint64_t rest = number < 0 ? 0 - (uint64_t)number : (uint64_t)number;
    do {
        *--start = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest);
    if (number < 0)
        *--start = '-';
    return (ferrite_bytes){ start, (uint32_t)(end - start) };
}

/* Reads an integer: digits after an optional minus sign, within 64 bits. */
FERRITE_FN bool ferrite_parse_i64(ferrite_bytes text, int64_t *number)
{
    bool negative = text.len > 0 && text.ptr[0] == '-';
    uint64_t limit = negative ? (uint64_t)1 << 63 : INT64_MAX;
    uint64_t sum = 0;
    uint32_t i = negative;
    if (i == text.len)
        return false;
    for (; i < text.len; i++) {
        uint32_t digit = (uint32_t)(unsigned char)text.ptr[i] - '0';
        if (digit > 9 || sum > (limit - digit) / 10)
            return false;
        sum = sum * 10 + digit;
    }
    *number = (int64_t)(negative ? 0 - sum : sum);
    return true;
}

/* Reads a number: decimal digits with an optional sign, point and exponent, or an infinity. Numbers that
 * are too large or too small are refused. */
FERRITE_FN bool ferrite_parse_double(ferrite_bytes text, double *number)
{
    const char *at = text.ptr, *end = text.ptr + text.len;
    bool digits = false, exponent = true, zero = true;
    if (at < end && (*at == '+' || *at == '-'))
        at++;
    bool named = end - at >= 3 && ((*at | 0x20) == 'i');
    for (const char *name = "infinity"; named && at < end; at++, name++)
        named = (*at | 0x20) == *name;
    if (!named) {
        bool point = false;
        for (; at < end && ((*at >= '0' && *at <= '9') || (*at == '.' && !point)); at++) {
            point |= *at == '.';
            digits |= *at != '.';
            zero &= *at == '0' || *at == '.';
        }
        if (digits && at < end && (*at | 0x20) == 'e') {
            at++;
            if (at < end && (*at == '+' || *at == '-'))
                at++;
            for (exponent = false; at < end && *at >= '0' && *at <= '9'; at++)
                exponent = true;
        }
        if (!digits || !exponent || at < end)
            return false;
    }
    char *copy = ferrite_alloc((size_t)text.len + 1), *stop;
    memcpy(copy, text.ptr, text.len);
    copy[text.len] = 0;
    *number = strtod(copy, &stop);
    bool whole = stop == copy + text.len;
    return whole && (named || (*number - *number == 0 && (zero || *number != 0)));
}

/* Returns true if bytes are UTF-8: shortest forms only, no surrogates, nothing above U+10FFFF. */
FERRITE_FN bool ferrite_is_utf8(ferrite_bytes text)
{
    const unsigned char *at = (const unsigned char *)text.ptr, *end = at + text.len;
    while (at < end) {
        unsigned char first = *at++;
        int more = first < 0x80 ? 0 : first >> 5 == 6 ? 1 : first >> 4 == 14 ? 2 : first >> 3 == 30 ? 3 : -1;
        if (more < 0 || end - at < more)
            return false;
        uint32_t rune = more ? first & (0x3fu >> more) : first;
        for (int i = 0; i < more; i++) {
            if ((*at & 0xc0) != 0x80)
                return false;
            rune = rune << 6 | (*at++ & 0x3fu);
        }
        static const uint32_t least[4] = { 0, 0x80, 0x800, 0x10000 };
        if (rune < least[more] || rune > 0x10ffff || (rune >= 0xd800 && rune < 0xe000))
            return false;
    }
    return true;
}

/* ---- Errors ---- */

/* Keeps an error, which starts with its code; returns false for the body to return. */
FERRITE_FN bool ferrite_fail(ferrite_bytes error)
{
    ferrite_state.error = error;
    return false;
}

/* A value in quotes, escaped and cut to 64 bytes, for an error's text. */
FERRITE_FN ferrite_bytes ferrite_excerpt(ferrite_bytes value)
{
    static const char hex[] = "0123456789abcdef";
    char *text = ferrite_alloc(64 * 4 + 5), *end = text;
    *end++ = '"';
    for (uint32_t i = 0; i < value.len && i < 64; i++) {
        unsigned char byte = (unsigned char)value.ptr[i];
        if (byte == '"' || byte == '\\' || byte == '\n' || byte == '\r') {
            *end++ = '\\';
            *end++ = byte == '\n' ? 'n' : byte == '\r' ? 'r' : (char)byte;
        } else if (byte >= ' ' && byte <= '~') {
            *end++ = (char)byte;
        } else {
            *end++ = '\\';
            *end++ = 'x';
            *end++ = hex[byte >> 4];
            *end++ = hex[byte & 15];
        }
    }
    *end++ = '"';
    for (int i = 0; value.len > 64 && i < 3; i++)
        *end++ = '.';
    return (ferrite_bytes){ text, (uint32_t)(end - text) };
}

/* Keeps the error for a status that the host function `operation` returned for `subject`. */
FERRITE_FN bool ferrite_fail_status(int64_t status, const char *operation, ferrite_bytes subject)
{
    const char *code = "ERR ", *text = "unknown status";
    switch (status) {
    case FERRITE_WRONG_TYPE:
        return ferrite_fail(
            ferrite_text("WRONGTYPE Operation against a key holding the wrong kind of value"));
    case FERRITE_DENIED:
        code = "NOPERM ", text = "not permitted";
        break;
    case FERRITE_READ_ONLY:
        code = "NOPERM ", text = "the call may only read";
        break;
    case FERRITE_LIMIT:
        code = "LIMIT ", text = "a limit was reached";
        break;
    case FERRITE_INVALID:
        if (strcmp(operation, "incr_by") == 0)
            return ferrite_fail(ferrite_text("ERR value is not an integer or out of range"));
        text = "invalid value or parameter";
        break;
    case FERRITE_STORE:
        text = "the store failed";
        break;
    }
    return ferrite_fail(FERRITE_JOIN(ferrite_text(code), ferrite_text(operation), ferrite_text(" "),
                                     ferrite_excerpt(subject), ferrite_text(": "),
                                     ferrite_text(text)));
}

/* ---- Input: the keys, then the arguments, in order ---- */

FERRITE_FN bool ferrite_is_key(int32_t index)
{
    return index < ferrite_abi_key_count();
}

FERRITE_FN int32_t ferrite_read_input(int32_t index, void *buf, int32_t cap)
{
    int32_t keys = ferrite_abi_key_count();
    return index < keys ? ferrite_abi_key(index, buf, cap) : ferrite_abi_arg(index - keys, buf, cap);
}

/* Number of keys and arguments that are not taken yet. */
FERRITE_FN int32_t ferrite_left(void)
{
    return ferrite_abi_key_count() + ferrite_abi_arg_count() - ferrite_state.taken;
}

FERRITE_FN ferrite_bytes ferrite_signature(void)
{
    return FERRITE_JOIN(ferrite_text("ERR "), ferrite_text(ferrite_state.name), ferrite_text("("),
                        ferrite_text(ferrite_state.parameters), ferrite_text("): "));
}

FERRITE_FN ferrite_bytes ferrite_position(int32_t index)
{
    bool is_key = ferrite_is_key(index);
    int32_t number = 1 + (is_key ? index : index - ferrite_abi_key_count());
    return FERRITE_JOIN(ferrite_text(is_key ? "KEYS[" : "ARGS["), ferrite_decimal(number),
                        ferrite_text("]"));
}

FERRITE_FN ferrite_bytes ferrite_counts(void)
{
    int32_t keys = ferrite_abi_key_count(), args = ferrite_abi_arg_count();
    return FERRITE_JOIN(ferrite_text("got "), ferrite_decimal(keys),
                        ferrite_text(keys == 1 ? " key and " : " keys and "), ferrite_decimal(args),
                        ferrite_text(args == 1 ? " argument" : " arguments"));
}

/* Keeps the error for the value taken last, which is not of the type of `name`. */
FERRITE_FN bool ferrite_mismatch(const char *name, const char *type, const char *expected,
                                 ferrite_bytes given)
{
    return ferrite_fail(FERRITE_JOIN(
        ferrite_text("ERR "), ferrite_text(ferrite_state.name), ferrite_text(": '"),
        ferrite_text(name), ferrite_text("' ("), ferrite_position(ferrite_state.taken - 1),
        ferrite_text(", "), ferrite_text(type), ferrite_text(") must be "), ferrite_text(expected),
        ferrite_text(", not "), ferrite_excerpt(given)));
}

FERRITE_FN bool ferrite_take_as(const char *name, const char *type, ferrite_bytes *value)
{
    if (ferrite_left() == 0)
        return ferrite_fail(FERRITE_JOIN(ferrite_signature(), ferrite_text("no value for '"),
                                         ferrite_text(name), ferrite_text("' ("),
                                         ferrite_text(type), ferrite_text("); "),
                                         ferrite_counts()));
    int32_t index = ferrite_state.taken++;
    int32_t len = ferrite_read_input(index, NULL, 0);
    if (len < 0)
        return ferrite_fail_status(len, "input", ferrite_text(name));
    char *bytes = ferrite_alloc((size_t)len);
    ferrite_read_input(index, bytes, len);
    *value = (ferrite_bytes){ bytes, (uint32_t)len };
    return true;
}

/* Takes the next key or argument unchanged. `name` is its name in error replies. */
FERRITE_FN bool ferrite_take_bytes(const char *name, ferrite_bytes *value)
{
    return ferrite_take_as(name, "bytes", value);
}

/* Takes the next key or argument, which must be UTF-8. */
FERRITE_FN bool ferrite_take_text(const char *name, ferrite_bytes *value)
{
    return ferrite_take_as(name, "text", value)
           && (ferrite_is_utf8(*value) || ferrite_mismatch(name, "text", "UTF-8 text", *value));
}

/* Takes the next key or argument, which must be a 64-bit integer. */
FERRITE_FN bool ferrite_take_i64(const char *name, int64_t *value)
{
    ferrite_bytes text;
    return ferrite_take_as(name, "integer", &text)
           && (ferrite_parse_i64(text, value)
               || ferrite_mismatch(name, "integer", "a 64-bit integer", text));
}

/* Takes the next key or argument, which must be a number. */
FERRITE_FN bool ferrite_take_double(const char *name, double *value)
{
    ferrite_bytes text;
    return ferrite_take_as(name, "double", &text)
           && (ferrite_parse_double(text, value)
               || ferrite_mismatch(name, "double", "a number", text));
}

/* Refuses the call if keys or arguments are left. */
FERRITE_FN bool ferrite_take_end(void)
{
    return ferrite_left() == 0
           || ferrite_fail(FERRITE_JOIN(ferrite_signature(),
                                        ferrite_position(ferrite_state.taken),
                                        ferrite_text(" is one too many; "), ferrite_counts()));
}

/* ---- Replies ---- */

FERRITE_FN bool ferrite_reply_null(void)
{
    ferrite_abi_reply_null();
    return true;
}

FERRITE_FN bool ferrite_reply_bool(bool value)
{
    ferrite_abi_reply_bool(value);
    return true;
}

FERRITE_FN bool ferrite_reply_i64(int64_t value)
{
    ferrite_abi_reply_int(value);
    return true;
}

FERRITE_FN bool ferrite_reply_double(double value)
{
    ferrite_abi_reply_double(value);
    return true;
}

FERRITE_FN bool ferrite_reply_bytes(ferrite_bytes value)
{
    ferrite_abi_reply_bulk(value.ptr, (int32_t)value.len);
    return true;
}

/* Replies text, which must be UTF-8; ferrite_reply_bytes replies anything. */
FERRITE_FN bool ferrite_reply_text(const char *text)
{
    ferrite_bytes bytes = ferrite_text(text);
    if (!ferrite_is_utf8(bytes))
        return ferrite_fail(FERRITE_JOIN(ferrite_text("ERR a reply must be UTF-8 text, not "),
                                         ferrite_excerpt(bytes)));
    return ferrite_reply_bytes(bytes);
}

/* Replies a status text, such as OK. */
FERRITE_FN bool ferrite_reply_simple(const char *text)
{
    ferrite_abi_reply_simple(text, (int32_t)strlen(text));
    return true;
}

/* Opens an array of `n` elements, the next replies. */
FERRITE_FN bool ferrite_reply_array(uint32_t n)
{
    ferrite_abi_reply_array((int32_t)n);
    return true;
}

/* Opens a map of `n` pairs, the next 2n replies. */
FERRITE_FN bool ferrite_reply_map(uint32_t n)
{
    ferrite_abi_reply_map((int32_t)n);
    return true;
}

/* ---- The store ---- */

/* Bytes of a result to keep on the stack at first; most results are shorter. */
#define FERRITE_FIRST 256

FERRITE_FN bool ferrite_result(int32_t len, const char *first, const char *operation,
                               ferrite_bytes subject, ferrite_bytes *value, bool *found)
{
    if (found)
        *found = len >= 0;
    if (len < 0)
        return len == FERRITE_NOT_FOUND || ferrite_fail_status(len, operation, subject);
    char *bytes = ferrite_alloc((size_t)len);
    int32_t there = len < FERRITE_FIRST ? len : FERRITE_FIRST;
    memcpy(bytes, first, (size_t)there);
    if (len > there)
        ferrite_abi_take(bytes + there, there, len - there);
    if (value)
        *value = (ferrite_bytes){ bytes, (uint32_t)len };
    return true;
}

/* Reads a string. Does not change `*value` if there is none. */
FERRITE_FN bool ferrite_get(ferrite_bytes key, ferrite_bytes *value, bool *found)
{
    char first[FERRITE_FIRST];
    int32_t len = ferrite_abi_get(key.ptr, (int32_t)key.len, first, FERRITE_FIRST);
    return ferrite_result(len, first, "get", key, value, found);
}

/* Reads a value of the function's own configuration, which CONFIG of WASM.LOAD and WASM.CONFIG set. Does
 * not change `*value` if it has none of this name. Secrets belong there, and not into code. */
FERRITE_FN bool ferrite_config(const char *name, ferrite_bytes *value, bool *found)
{
    char first[FERRITE_FIRST];
    ferrite_bytes subject = ferrite_text(name);
    int32_t len = ferrite_abi_config(subject.ptr, (int32_t)subject.len, first, FERRITE_FIRST);
    return ferrite_result(len, first, "config", subject, value, found);
}

FERRITE_FN bool ferrite_number(const char *what, ferrite_bytes subject, ferrite_bytes text,
                               int64_t *value)
{
    return ferrite_parse_i64(text, value)
           || ferrite_fail(FERRITE_JOIN(ferrite_text(what), ferrite_excerpt(subject),
                                        ferrite_text(" must be a 64-bit integer, not "),
                                        ferrite_excerpt(text)));
}

/* Reads a string as an integer. Does not change `*value` if there is none. */
FERRITE_FN bool ferrite_get_i64(ferrite_bytes key, int64_t *value, bool *found)
{
    ferrite_bytes text = { NULL, 0 };
    bool there;
    if (!ferrite_get(key, &text, &there))
        return false;
    if (found)
        *found = there;
    return !there || ferrite_number("ERR the value of key ", key, text, value);
}

/* Writes a string. `options` are FERRITE_NX, FERRITE_XX, FERRITE_KEEPTTL or 0; a `ttl_millis` below 0
 * sets no expiry. */
FERRITE_FN bool ferrite_set(ferrite_bytes key, ferrite_bytes value, int32_t options,
                            int64_t ttl_millis, bool *stored)
{
    int32_t status = ferrite_abi_set(key.ptr, (int32_t)key.len, value.ptr, (int32_t)value.len,
                                     options, ttl_millis);
    if (stored)
        *stored = status == 0;
    return status == 0 || status == FERRITE_NOT_STORED || ferrite_fail_status(status, "set", key);
}

FERRITE_FN bool ferrite_counted(int32_t count, const char *operation, ferrite_bytes subject,
                                uint32_t *out)
{
    if (count < 0)
        return ferrite_fail_status(count, operation, subject);
    if (out)
        *out = (uint32_t)count;
    return true;
}

/* Deletes keys; `*count` is the number of keys that existed. */
FERRITE_FN bool ferrite_del(const ferrite_bytes *keys, uint32_t n, uint32_t *count)
{
    return ferrite_counted(ferrite_abi_del(keys, (int32_t)n), "del", n ? keys[0] : ferrite_text(""),
                           count);
}

/* Counts the keys that exist. */
FERRITE_FN bool ferrite_exists(const ferrite_bytes *keys, uint32_t n, uint32_t *count)
{
    return ferrite_counted(ferrite_abi_exists(keys, (int32_t)n), "exists",
                           n ? keys[0] : ferrite_text(""), count);
}

/* Adds to an integer, which starts at 0 if there is none. */
FERRITE_FN bool ferrite_incr_by(ferrite_bytes key, int64_t delta, int64_t *sum)
{
    int64_t out;
    int32_t status = ferrite_abi_incr_by(key.ptr, (int32_t)key.len, delta, &out);
    if (status != 0)
        return ferrite_fail_status(status, "incr_by", key);
    if (sum)
        *sum = out;
    return true;
}

/* Lets a key expire after `millis` milliseconds, at once if that is 0 or less. */
FERRITE_FN bool ferrite_expire_millis(ferrite_bytes key, int64_t millis, bool *found)
{
    uint32_t count;
    if (!ferrite_counted(ferrite_abi_expire(key.ptr, (int32_t)key.len, millis), "expire", key,
                         &count))
        return false;
    if (found)
        *found = count > 0;
    return true;
}

/* Lets a key expire after `secs` seconds, at once if that is 0 or less. */
FERRITE_FN bool ferrite_expire(ferrite_bytes key, int64_t secs, bool *found)
{
    int64_t millis;
    if (__builtin_mul_overflow(secs, (int64_t)1000, &millis))
        millis = secs < 0 ? INT64_MIN : INT64_MAX;
    return ferrite_expire_millis(key, millis, found);
}

/* Reads the milliseconds until a key expires, -1 without expiry, -2 without key. */
FERRITE_FN bool ferrite_ttl(ferrite_bytes key, int64_t *millis)
{
    *millis = ferrite_abi_ttl(key.ptr, (int32_t)key.len);
    return *millis > FERRITE_DENIED || ferrite_fail_status(*millis, "ttl", key);
}

/* Reads a hash's field. Does not change `*value` if there is none. */
FERRITE_FN bool ferrite_hget(ferrite_bytes key, ferrite_bytes field, ferrite_bytes *value,
                             bool *found)
{
    char first[FERRITE_FIRST];
    int32_t len = ferrite_abi_hget(key.ptr, (int32_t)key.len, field.ptr, (int32_t)field.len, first,
                                   FERRITE_FIRST);
    return ferrite_result(len, first, "hget", key, value, found);
}

/* Writes a hash's field; `*is_new` is true if it is new. */
FERRITE_FN bool ferrite_hset(ferrite_bytes key, ferrite_bytes field, ferrite_bytes value,
                             bool *is_new)
{
    uint32_t count;
    int32_t status = ferrite_abi_hset(key.ptr, (int32_t)key.len, field.ptr, (int32_t)field.len,
                                      value.ptr, (int32_t)value.len);
    if (!ferrite_counted(status, "hset", key, &count))
        return false;
    if (is_new)
        *is_new = count > 0;
    return true;
}

/* Deletes fields of a hash; `*count` is the number of fields that existed. */
FERRITE_FN bool ferrite_hdel(ferrite_bytes key, const ferrite_bytes *fields, uint32_t n,
                             uint32_t *count)
{
    return ferrite_counted(ferrite_abi_hdel(key.ptr, (int32_t)key.len, fields, (int32_t)n), "hdel",
                           key, count);
}

FERRITE_FN void ferrite_log(int32_t level, const char *text)
{
    ferrite_abi_log(level, text, (int32_t)strlen(text));
}

/* Returns the milliseconds since 1970, the same throughout a call. */
FERRITE_FN int64_t ferrite_time_millis(void)
{
    return ferrite_abi_time_millis();
}

FERRITE_FN void ferrite_random(void *buffer, uint32_t len)
{
    ferrite_abi_random(buffer, (int32_t)len);
}

/* ---- Any command ---- */

/* The reply of a command, read element by element from the front. */
typedef struct {
    const char *at, *end;
} ferrite_reply;

enum ferrite_kind {
    FERRITE_KIND_NULL,
    FERRITE_KIND_INT,   /* `number` */
    FERRITE_KIND_BYTES, /* `bytes`: a string or a status text */
    FERRITE_KIND_ERROR, /* `bytes`: an error inside an array */
    FERRITE_KIND_ARRAY, /* `number` elements follow */
};

typedef struct {
    enum ferrite_kind kind;
    int64_t number;
    ferrite_bytes bytes;
} ferrite_value;

FERRITE_FN bool ferrite_malformed(void)
{
    return ferrite_fail(ferrite_text("ERR the reply of a command is malformed"));
}

/* Reads the next element of a reply. */
FERRITE_FN bool ferrite_next(ferrite_reply *reply, ferrite_value *value)
{
    const char *line = reply->at, *stop = line;
    while (stop < reply->end && *stop != '\r')
        stop++;
    if (reply->end - stop < 2 || stop == line)
        return ferrite_malformed();
    reply->at = stop + 2;
    *value = (ferrite_value){ .bytes = { line + 1, (uint32_t)(stop - line - 1) } };
    switch (*line) {
    case '+':
        value->kind = FERRITE_KIND_BYTES;
        return true;
    case '-':
        value->kind = FERRITE_KIND_ERROR;
        return true;
    }
    if (!ferrite_parse_i64(value->bytes, &value->number))
        return ferrite_malformed();
    switch (*line) {
    case ':':
        value->kind = FERRITE_KIND_INT;
        return true;
    case '*':
        value->kind = value->number < 0 ? FERRITE_KIND_NULL : FERRITE_KIND_ARRAY;
        return true;
    case '$':
        if (value->number < 0)
            return true;
        if (value->number > reply->end - reply->at - 2)
            return ferrite_malformed();
        value->kind = FERRITE_KIND_BYTES;
        value->bytes = (ferrite_bytes){ reply->at, (uint32_t)value->number };
        reply->at += value->number + 2;
        return true;
    }
    return ferrite_malformed();
}

FERRITE_FN bool ferrite_next_bytes(ferrite_reply *reply, ferrite_bytes *bytes)
{
    ferrite_value value;
    if (!ferrite_next(reply, &value))
        return false;
    *bytes = value.bytes;
    return value.kind == FERRITE_KIND_BYTES || ferrite_malformed();
}

/* Writes strings as a RESP array. */
FERRITE_FN ferrite_bytes ferrite_encode(const ferrite_bytes *args, uint32_t n)
{
    size_t len = 32;
    for (uint32_t i = 0; i < n; i++)
        len += args[i].len + 16;
    char *encoded = ferrite_alloc(len), *end = encoded;
    for (uint32_t i = 0; i <= n; i++) {
        ferrite_bytes head = ferrite_decimal(i ? args[i - 1].len : n);
        *end++ = i ? '$' : '*';
        memcpy(end, head.ptr, head.len);
        end += head.len;
        *end++ = '\r';
        *end++ = '\n';
        if (i) {
            memcpy(end, args[i - 1].ptr, args[i - 1].len);
            end += args[i - 1].len;
            *end++ = '\r';
            *end++ = '\n';
        }
    }
    return (ferrite_bytes){ encoded, (uint32_t)(end - encoded) };
}

/* Fetches a whole reply in RESP, whose error becomes this call's error. */
FERRITE_FN bool ferrite_fetch(int32_t full, const char *first, const char *operation,
                              ferrite_bytes subject, ferrite_reply *reply)
{
    ferrite_bytes bytes = { NULL, 0 };
    if (full < 0)
        return ferrite_fail_status(full, operation, subject);
    ferrite_result(full, first, operation, subject, &bytes, NULL);
    ferrite_reply whole = { bytes.ptr, bytes.ptr + bytes.len };
    if (full > 0 && bytes.ptr[0] == '-') {
        ferrite_value error;
        return ferrite_next(&whole, &error) && ferrite_fail(error.bytes);
    }
    if (reply)
        *reply = whole;
    return true;
}

/* Runs a command. Its own error becomes this call's error. */
FERRITE_FN bool ferrite_call(const char *command, const ferrite_bytes *args, uint32_t n,
                             ferrite_reply *reply)
{
    char first[FERRITE_FIRST];
    ferrite_bytes name = ferrite_text(command), encoded = ferrite_encode(args, n);
    int32_t full = ferrite_abi_call(name.ptr, (int32_t)name.len, encoded.ptr, (int32_t)encoded.len,
                                    first, FERRITE_FIRST);
    return ferrite_fetch(full, first, "call", name, reply);
}

#define FERRITE_CALL(reply, command, ...)                                                          \
    ferrite_call(command, (ferrite_bytes[]){ __VA_ARGS__ },                                        \
                 sizeof((ferrite_bytes[]){ __VA_ARGS__ }) / sizeof(ferrite_bytes), reply)

/* ---- The keys of this node ---- */

/* Number of keys that one page of a scan looks at. */
#define FERRITE_SCAN_PAGE "500"

/* The keys that match a pattern; see ferrite_scan_keys. */
typedef struct {
    ferrite_bytes pattern;
    /* Memory of the page; NULL before the first one and after the last. */
    char *page;
    /* The start of the next page, in the memory of this one; without bytes after the last key. */
    ferrite_bytes cursor;
    /* The keys of the page that were not returned yet, and their number. */
    ferrite_reply rest;
    int64_t left;
} ferrite_scan;

/* Goes through the keys that match a pattern, page by page: other calls and commands run in between.
 *
 *     ferrite_scan scan = ferrite_scan_keys(ferrite_text("user:*"));
 *     ferrite_bytes key;
 *     bool found;
 *     do {
 *         if (!ferrite_next_key(&scan, &key, &found) || (found && !count(key)))
 *             return false;
 *     } while (found);
 *
 * The keys come in no order, and one that is there all the time comes at least once. A key that comes
 * or goes meanwhile may be missing, and one may come twice. In a cluster these are the keys of the node
 * that runs the call; with WASM.CALLALL every node goes through its own. The pattern must stay where it
 * is until the last key. */
FERRITE_FN ferrite_scan ferrite_scan_keys(ferrite_bytes pattern)
{
    return (ferrite_scan){ .pattern = pattern, .cursor = ferrite_text("0") };
}

/* Gives back the memory of a scan's page. */
FERRITE_FN void ferrite_leave_page(ferrite_scan *scan)
{
    struct ferrite_block **at = &ferrite_state.pages;
    while (*at && (char *)(*at)->data != scan->page)
        at = &(*at)->next;
    struct ferrite_block *block = *at;
    if (block) {
        *at = block->next;
        free(block);
    }
    scan->page = NULL;
}

/* Reads the next page of a scan, in the place of the last one. */
FERRITE_FN bool ferrite_next_page(ferrite_scan *scan)
{
    ferrite_mark mark = ferrite_set_mark();
    ferrite_reply reply;
    ferrite_value pair, keys;
    if (!FERRITE_CALL(&reply, "SCAN", scan->cursor, ferrite_text("MATCH"), scan->pattern,
                      ferrite_text("COUNT"), ferrite_text(FERRITE_SCAN_PAGE)))
        return false;
    ferrite_leave_page(scan);
    size_t len = (size_t)(reply.end - reply.at);
    scan->page = ferrite_link(&ferrite_state.pages, malloc(ferrite_block_size(len)));
    memcpy(scan->page, reply.at, len);
    ferrite_release(mark);
    scan->rest = (ferrite_reply){ scan->page, scan->page + len };
    if (!ferrite_next(&scan->rest, &pair) || !ferrite_next_bytes(&scan->rest, &scan->cursor)
        || !ferrite_next(&scan->rest, &keys))
        return false;
    scan->left = keys.number;
    return (pair.number == 2 && keys.kind == FERRITE_KIND_ARRAY) || ferrite_malformed();
}

/* Finds the next key of a scan. Its bytes stay valid until the next call of this function for the same
 * scan: copy what has to last, with FERRITE_JOIN. After the last key `*found` is false, and `*key` does
 * not change. */
FERRITE_FN bool ferrite_next_key(ferrite_scan *scan, ferrite_bytes *key, bool *found)
{
    *found = false;
    while (scan->left == 0 && scan->cursor.len > 0) {
        if (!scan->page || !ferrite_is(scan->cursor, "0")) {
            if (!ferrite_next_page(scan))
                return false;
        } else {
            ferrite_leave_page(scan);
            scan->cursor.len = 0;
        }
    }
    if (scan->left == 0)
        return true;
    scan->left--;
    *found = true;
    return ferrite_next_bytes(&scan->rest, key);
}

/* ---- Requests to other servers ---- */

typedef struct {
    int64_t status;
    ferrite_bytes url, body;
    /* `header_count` pairs of name, in lower case, and value. */
    ferrite_reply headers;
    int64_t header_count;
} ferrite_response;

FERRITE_FN ferrite_bytes ferrite_encode_request(const char *method, ferrite_bytes url,
                                                ferrite_bytes body, const ferrite_bytes *headers,
                                                uint32_t n)
{
    ferrite_bytes *words = ferrite_alloc((n + 3) * sizeof *words);
    words[0] = ferrite_text(method), words[1] = url, words[2] = body;
    if (n)
        memcpy(words + 3, headers, n * sizeof *words);
    return ferrite_encode(words, n + 3);
}

/* Makes a request. `headers` are `n` strings: the name and the value of each header in turn. The names
 * ":timeout" (milliseconds) and ":redirects" (the most to follow) are options. Whatever the status of
 * the response is, it is no failure; if there is no response, the reason becomes this call's error. */
FERRITE_FN bool ferrite_http(const char *method, ferrite_bytes url, ferrite_bytes body,
                             const ferrite_bytes *headers, uint32_t n, ferrite_response *response)
{
    char first[FERRITE_FIRST];
    ferrite_bytes request = ferrite_encode_request(method, url, body, headers, n);
    int32_t full = ferrite_abi_http(request.ptr, (int32_t)request.len, first, FERRITE_FIRST);
    ferrite_reply reply;
    ferrite_value count, status;
    ferrite_response whole;
    if (!ferrite_fetch(full, first, "http", url, &reply) || !ferrite_next(&reply, &count)
        || !ferrite_next(&reply, &status) || !ferrite_next_bytes(&reply, &whole.url)
        || !ferrite_next_bytes(&reply, &whole.body))
        return false;
    if (count.kind != FERRITE_KIND_ARRAY || status.kind != FERRITE_KIND_INT)
        return ferrite_malformed();
    whole.status = status.number;
    whole.headers = reply;
    whole.header_count = (count.number - 3) / 2;
    if (response)
        *response = whole;
    return true;
}

/* Makes a request a part of what the call commits; `headers` are as for `ferrite_http`. If the call
 * commits, the host sends the request afterwards, and again until the server accepts it by a status from
 * 200 to 299. It may arrive more than once, each time with the same header "idempotency-key", whose value
 * becomes `*key`: the one that the request has, or a random one. Nothing is sent for a call that fails. */
FERRITE_FN bool ferrite_after_commit(const char *method, ferrite_bytes url, ferrite_bytes body,
                                     const ferrite_bytes *headers, uint32_t n, ferrite_bytes *key)
{
    char first[FERRITE_FIRST];
    ferrite_bytes request = ferrite_encode_request(method, url, body, headers, n), own;
    int32_t full = ferrite_abi_after_commit(request.ptr, (int32_t)request.len, first, FERRITE_FIRST);
    ferrite_reply reply;
    if (!ferrite_fetch(full, first, "after_commit", url, &reply) || !ferrite_next_bytes(&reply, &own))
        return false;
    if (key)
        *key = own;
    return true;
}

/* Finds the first value of a header, whose name is given in lower case. Does not change `*value` if
 * there is none. */
FERRITE_FN bool ferrite_header(const ferrite_response *response, const char *name,
                               ferrite_bytes *value, bool *found)
{
    ferrite_reply rest = response->headers;
    ferrite_bytes wanted = ferrite_text(name), known, content;
    if (found)
        *found = false;
    for (int64_t i = 0; i < response->header_count; i++) {
        if (!ferrite_next_bytes(&rest, &known) || !ferrite_next_bytes(&rest, &content))
            return false;
        if (known.len != wanted.len || memcmp(known.ptr, wanted.ptr, wanted.len) != 0)
            continue;
        if (value)
            *value = content;
        if (found)
            *found = true;
        return true;
    }
    return true;
}

/* ---- Entries ---- */

FERRITE_FN void ferrite_run(const char *name, const char *parameters, bool (*body)(void))
{
    ferrite_state.name = name;
    ferrite_state.parameters = parameters;
    ferrite_state.taken = 0;
    ferrite_state.error = ferrite_text("ERR the function failed without saying why");
    if (!body())
        ferrite_abi_reply_error(ferrite_state.error.ptr, (int32_t)ferrite_state.error.len);
    ferrite_free_to(&ferrite_state.blocks, NULL);
    ferrite_free_to(&ferrite_state.pages, NULL);
}

/* Gives malloc memory before the first call: `pieces` of 64 KiB. At the top level of a file that has entries,
 * with a semicolon. An isolated call whose malloc grows the memory makes the host undo that, for several
 * microseconds; it begins with what a start has grown. What the functions of this header allocate comes
 * from their own bytes first, and needs none of this. */
#define FERRITE_HEAP(pieces)                                                                       \
    __attribute__((constructor)) static void ferrite_start_heap(void)                              \
    {                                                                                              \
        ferrite_start_heap_of(pieces);                                                             \
    }                                                                                              \
    _Static_assert((pieces) > 0, "some memory")

FERRITE_FN void ferrite_start_heap_of(uint32_t pieces)
{
    /* With the allocator's own data, a piece takes 64 KiB in zig's C library, which grows by as much. */
    struct ferrite_block *list = NULL, *piece;
    while (pieces-- > 0 && (piece = malloc(60000)))
        ferrite_link(&list, piece);
    ferrite_free_to(&list, NULL);
}

/* Opens the body of an entry: a block that returns true if it replied. `parameters` is a text that
 * lists them, for error replies. */
#define FERRITE_FUNCTION(name, parameters)                                                         \
    static bool ferrite_body_##name(void);                                                         \
    __attribute__((export_name(#name))) void ferrite_entry_##name(void);                           \
    __attribute__((export_name(#name))) void ferrite_entry_##name(void)                            \
    {                                                                                              \
        ferrite_run(#name, parameters, ferrite_body_##name);                                       \
    }                                                                                              \
    static bool ferrite_body_##name(void)

/* ---- Triggers and schedules ---- */

/* Declares what lets a host run an entry by itself, once it has loaded the module. At the top level of a
 * file, with a semicolon:
 *
 *     FERRITE_ON(release, "session:*", "expired");
 *     FERRITE_ON_BEFORE(check, "order:*", "hset hsetnx");
 *     FERRITE_EVERY(sweep, "5m");
 *     FERRITE_CRON(rollup, "0 3 * * *");
 *     FERRITE_DECLARE("every sweep 5m MISSED once KEYS carts ARGS all");
 *
 * Patterns and events are literals, separated by blanks. A word with a blank in it stands in `\\\"`, and a
 * backslash is written four times. */
#ifdef __wasm__
#define FERRITE_DECLARE(line)                                                                      \
    __asm__(".section .custom_section.ferrite.automation,\"\",@\n"                                \
            ".ascii \"" line "\\n\"\n"                                                            \
            ".text\n")
#else
#define FERRITE_DECLARE(line) _Static_assert(sizeof(line) > 1, "a declaration")
#endif
#define FERRITE_ON(entry, keys, events)                                                            \
    FERRITE_DECLARE("on " #entry " KEYS " keys " EVENTS " events)
#define FERRITE_ON_BEFORE(entry, keys, events)                                                     \
    FERRITE_DECLARE("on " #entry " KEYS " keys " EVENTS " events " BEFORE")
#define FERRITE_EVERY(entry, time) FERRITE_DECLARE("every " #entry " " time)
#define FERRITE_CRON(entry, expression) FERRITE_DECLARE("cron " #entry " \\\"" expression "\\\"")

#endif
