/* Functions that read numbers, print, and fail. */

#include <stdio.h>

#include "ferrite.h"

FERRITE_FUNCTION(integer, "n")
{
    int64_t n;
    return ferrite_take_i64("n", &n) && ferrite_take_end() && ferrite_reply_i64(n);
}

FERRITE_FUNCTION(float, "n")
{
    double n;
    return ferrite_take_double("n", &n) && ferrite_take_end() && ferrite_reply_double(n);
}

FERRITE_FUNCTION(print, "text")
{
    ferrite_bytes text;
    if (!ferrite_take_text("text", &text) || !ferrite_take_end())
        return false;
    printf("printed %.*s\n", (int)text.len, text.ptr);
    fflush(stdout);
    return ferrite_reply_simple("OK");
}

FERRITE_FUNCTION(fail, "text")
{
    ferrite_bytes text, end = { "", 1 };
    if (!ferrite_take_text("text", &text))
        return false;
    ferrite_panic(FERRITE_JOIN(ferrite_text("panic: on purpose: "), text, end).ptr);
}

__attribute__((noinline)) static int deeper(int n)
{
    volatile char room[1024];
    room[n & 1023] = (char)n;
    return n == 0 ? 0 : deeper(n + 1) + room[5];
}

FERRITE_FUNCTION(overflow, "")
{
    return ferrite_reply_i64(deeper(1));
}

FERRITE_FUNCTION(half, "text")
{
    ferrite_bytes text, end = { "", 1 };
    if (!ferrite_take_text("text", &text))
        return false;
    text.len = 2;
    return ferrite_reply_text(FERRITE_JOIN(text, end).ptr);
}

FERRITE_FUNCTION(ask, "url")
{
    ferrite_bytes url, length = ferrite_text("none");
    ferrite_bytes headers[] = { ferrite_text("X-A"), ferrite_text("b"), ferrite_text(":timeout"), ferrite_text("60000") };
    ferrite_response response;
    if (!ferrite_take_text("url", &url) || !ferrite_take_end()
        || !ferrite_http("POST", url, ferrite_text("body"), headers, 4, &response)
        || !ferrite_header(&response, "content-length", &length, NULL))
        return false;
    return ferrite_reply_array(4) && ferrite_reply_i64(response.status) && ferrite_reply_bytes(response.body)
        && ferrite_reply_bytes(length) && ferrite_reply_bytes(response.url);
}

FERRITE_FUNCTION(tell, "url")
{
    ferrite_bytes url, key, token = ferrite_text("none"), none = ferrite_text("none");
    if (!ferrite_take_text("url", &url) || !ferrite_take_end()
        || !ferrite_after_commit("POST", url, ferrite_text("later"), NULL, 0, &key)
        || !ferrite_config("token", &token, NULL) || !ferrite_config("other", &none, NULL))
        return false;
    return ferrite_reply_array(3) && ferrite_reply_bytes(key) && ferrite_reply_bytes(token) && ferrite_reply_bytes(none);
}

/* Counts the keys that match and hold a value. */
FERRITE_FUNCTION(keys, "pattern")
{
    ferrite_bytes pattern, key;
    int64_t count = 0;
    bool found;
    if (!ferrite_take_text("pattern", &pattern) || !ferrite_take_end())
        return false;
    ferrite_scan scan = ferrite_scan_keys(pattern);
    do {
        if (!ferrite_next_key(&scan, &key, &found))
            return false;
        ferrite_mark mark = ferrite_set_mark();
        bool there = false;
        if (found && !ferrite_get(key, NULL, &there))
            return false;
        count += there;
        ferrite_release(mark);
    } while (found);
    /* It stays at its end. */
    if (!ferrite_next_key(&scan, &key, &found) || found)
        return ferrite_fail(ferrite_text("ERR there are keys after the last"));
    return ferrite_reply_i64(count);
}

/* Leaves scans before their ends, in two ways. */
FERRITE_FUNCTION(some_keys, "pattern")
{
    ferrite_bytes pattern, key, other;
    bool found;
    if (!ferrite_take_text("pattern", &pattern) || !ferrite_take_end())
        return false;
    ferrite_scan scan = ferrite_scan_keys(pattern), inner = ferrite_scan_keys(pattern);
    if (!ferrite_next_key(&scan, &key, &found) || !ferrite_next_key(&inner, &other, &found))
        return false;
    if (!found)
        return ferrite_fail(ferrite_text("ERR there are no keys"));
    return ferrite_reply_bool(ferrite_equal(key, other));
}

FERRITE_HEAP(4);

/* Allocates by malloc, in sizes of several kinds, what the argument says: 0 to 3 blocks. */
FERRITE_FUNCTION(heap, "blocks")
{
    static const size_t sizes[] = { 20, 3000, 40000 };
    int64_t blocks, sum = 0;
    if (!ferrite_take_i64("blocks", &blocks) || !ferrite_take_end())
        return false;
    for (int64_t i = 0; i < blocks && i < 3; i++) {
        unsigned char *block = malloc(sizes[i]);
        if (!block)
            return ferrite_fail(ferrite_text("ERR out of memory"));
        memset(block, 1, sizes[i]);
        sum += block[sizes[i] - 1];
        free(block);
    }
    return ferrite_reply_i64(sum);
}

FERRITE_FUNCTION(watched, "values")
{
    return ferrite_reply_simple("OK");
}

FERRITE_ON(watched, "\\\"a b\\\" order:*", "set del");
FERRITE_EVERY(watched, "365d");
FERRITE_DECLARE("cron watched \\\"0 3 1 1 *\\\" MISSED once KEYS k ARGS x \\\"y z\\\"");
FERRITE_CRON(watched, "0 4 1 1 *");
