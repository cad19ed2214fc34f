/*
 * The three functions of the Rust examples, in C: rate_limit, validate_user, aggregate_stats.
 */
#include "../../sdk/c/ferrite.h"

/* Whether one more call is allowed within the window, and counts it if so. */
FERRITE_FUNCTION(rate_limit, "key, limit, window_secs")
{
    ferrite_bytes key;
    int64_t limit, window_secs, current = 0;
    if (!ferrite_take_text("key", &key) || !ferrite_take_i64("limit", &limit)
        || !ferrite_take_i64("window_secs", &window_secs) || !ferrite_take_end()
        || !ferrite_get_i64(key, &current, NULL))
        return false;

    if (current >= limit)
        return ferrite_reply_bool(false);

    if (!ferrite_incr_by(key, 1, NULL))
        return false;
    if (current == 0 && !ferrite_expire(key, window_secs, NULL))
        return false;
    return ferrite_reply_bool(true);
}

/* ---- Just enough JSON to find one string in an object ---- */

#define JSON_DEPTH_MAX 64

/* A reader over JSON text. Every function leaves it behind what it has read, or returns false. */
typedef struct {
    const char *at, *end;
} json;

static void json_blanks(json *in)
{
    while (in->at < in->end && (*in->at == ' ' || *in->at == '\t' || *in->at == '\n' || *in->at == '\r'))
        in->at++;
}

static bool json_byte(json *in, char byte)
{
    json_blanks(in);
    if (in->at == in->end || *in->at != byte)
        return false;
    in->at++;
    return true;
}

/* Reads a string's raw contents. Escapes stay as they are: the names that are looked for have none. */
static bool json_string(json *in, ferrite_bytes *raw)
{
    if (!json_byte(in, '"'))
        return false;
    const char *start = in->at;
    for (; in->at < in->end && *in->at != '"'; in->at++) {
        if ((unsigned char)*in->at < ' ')
            return false;
        if (*in->at == '\\' && ++in->at == in->end)
            return false;
    }
    *raw = (ferrite_bytes){ start, (uint32_t)(in->at - start) };
    return json_byte(in, '"');
}

static bool json_word(json *in)
{
    const char *start = in->at;
    while (in->at < in->end && strchr("+-.0123456789abcdefghijklmnopqrstuvwxyzE", *in->at) && *in->at)
        in->at++;
    return in->at > start;
}

/* Reads any value and drops it. */
static bool json_skip(json *in, int depth)
{
    ferrite_bytes string;
    json_blanks(in);
    if (in->at == in->end || depth == JSON_DEPTH_MAX)
        return false;
    char open = *in->at;
    if (open == '"')
        return json_string(in, &string);
    if (open != '{' && open != '[')
        return json_word(in);
    char close = open == '{' ? '}' : ']';
    in->at++;
    if (json_byte(in, close))
        return true;
    do {
        if (open == '{' && (!json_string(in, &string) || !json_byte(in, ':')))
            return false;
        if (!json_skip(in, depth + 1))
            return false;
    } while (json_byte(in, ','));
    return json_byte(in, close);
}

/* Finds the string member `name` of an object. */
static bool json_member(ferrite_bytes text, const char *name, ferrite_bytes *value)
{
    json in = { text.ptr, text.ptr + text.len };
    ferrite_bytes member;
    bool found = false;
    if (!json_byte(&in, '{'))
        return false;
    if (!json_byte(&in, '}')) {
        do {
            if (!json_string(&in, &member) || !json_byte(&in, ':'))
                return false;
            bool wanted = ferrite_is(member, name);
            if (!(wanted ? json_string(&in, value) : json_skip(&in, 1)))
                return false;
            found |= wanted;
        } while (json_byte(&in, ','));
        if (!json_byte(&in, '}'))
            return false;
    }
    json_blanks(&in);
    return found && in.at == in.end;
}

/* ---- validate_user ---- */

static bool one_of(ferrite_bytes word, const char *const *words, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (ferrite_is(word, words[i]))
            return true;
    return false;
}

static bool reply_verdict(bool allowed, ferrite_bytes reason)
{
    return ferrite_reply_map(2) && ferrite_reply_text("allowed") && ferrite_reply_bool(allowed)
           && ferrite_reply_text("reason") && ferrite_reply_bytes(reason);
}

/* Whether the user at `key` may do what the request says; a login is counted and dated. */
FERRITE_FUNCTION(validate_user, "key, request")
{
    static const char *const actions[] = { "login", "read", "write", "delete" };
    ferrite_bytes key, request, action;
    if (!ferrite_take_text("key", &key) || !ferrite_take_bytes("request", &request)
        || !ferrite_take_end())
        return false;
    if (!json_member(request, "action", &action))
        return ferrite_mismatch("request", "JSON", "JSON with a string \"action\"", request);
    if (!one_of(action, actions, 4))
        return ferrite_fail(FERRITE_JOIN(ferrite_text("BADACTION "), action,
                                         ferrite_text(" is none of login, read, write, delete")));

    bool found;
    ferrite_bytes status, role = ferrite_text("viewer");
    if (!ferrite_hget(key, ferrite_text("status"), &status, &found))
        return false;
    if (!found)
        return reply_verdict(false, ferrite_text("unknown user"));
    if (!ferrite_is(status, "active"))
        return reply_verdict(false, FERRITE_JOIN(ferrite_text("account is "), status));

    /* The actions are in the order in which roles gain them. */
    if (!ferrite_hget(key, ferrite_text("role"), &role, NULL))
        return false;
    size_t allowed = ferrite_is(role, "admin") ? 4 : ferrite_is(role, "editor") ? 3 : 2;
    if (!one_of(action, actions, allowed))
        return reply_verdict(false, FERRITE_JOIN(ferrite_text("role "), role,
                                                 ferrite_text(" may not "), action));

    if (ferrite_is(action, "login")
        && (!FERRITE_CALL(NULL, "HINCRBY", key, ferrite_text("logins"), ferrite_text("1"))
            || !ferrite_hset(key, ferrite_text("last_login"),
                             ferrite_decimal(ferrite_time_millis()), NULL)))
        return false;
    return reply_verdict(true, ferrite_text("ok"));
}

/* ---- aggregate_stats ---- */

typedef struct {
    ferrite_bytes name;
    int64_t total;
} sum;

/* Sums by name, in the order of the names. */
typedef struct {
    sum *items;
    uint32_t count, room;
} sums;

/* Gives the place of a name, making one where there is none. The name must last. */
static sum *sum_of(sums *all, ferrite_bytes name)
{
    uint32_t low = 0, high = all->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        int order = ferrite_compare(all->items[middle].name, name);
        if (order == 0)
            return &all->items[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    if (all->count == all->room) {
        all->room = all->room ? all->room * 2 : 16;
        sum *items = ferrite_alloc(all->room * sizeof *items);
        if (all->count)
            memcpy(items, all->items, all->count * sizeof *items);
        all->items = items;
    }
    memmove(all->items + low + 1, all->items + low, (all->count - low) * sizeof *all->items);
    all->items[low] = (sum){ name, 0 };
    all->count++;
    return &all->items[low];
}

/* Adds the counters of the hash at `key`. */
static bool add_counters(sums *all, ferrite_bytes key)
{
    ferrite_mark mark = ferrite_set_mark();
    uint32_t known = all->count;
    ferrite_reply reply;
    ferrite_value value, name;
    if (!FERRITE_CALL(&reply, "HGETALL", key) || !ferrite_next(&reply, &value))
        return false;
    for (int64_t i = 0; i < value.number; i += 2) {
        ferrite_value count;
        int64_t number;
        if (!ferrite_next(&reply, &name) || !ferrite_next(&reply, &count))
            return false;
        if (!ferrite_parse_i64(count.bytes, &number))
            return ferrite_fail(FERRITE_JOIN(ferrite_text("BADSTAT "), key, ferrite_text(" "),
                                             name.bytes, ferrite_text(" is not an integer")));
        sum *sum = sum_of(all, name.bytes);
        if (__builtin_add_overflow(sum->total, number, &sum->total))
            return ferrite_fail(FERRITE_JOIN(ferrite_text("BADSTAT "), name.bytes,
                                             ferrite_text(" is too large to add up")));
    }
    /* The reply stays if it has a new name in it, so that the memory grows with the names alone. */
    if (all->count == known)
        ferrite_release(mark);
    return true;
}

/* The date at the end of a key such as stats:2024-01-15. */
static ferrite_bytes date_of(ferrite_bytes key)
{
    uint32_t start = key.len;
    while (start > 0 && key.ptr[start - 1] != ':')
        start--;
    return (ferrite_bytes){ key.ptr + start, key.len - start };
}

/* The sums, by counter, over all hashes whose key matches `pattern` and ends in a date of the range. */
FERRITE_FUNCTION(aggregate_stats, "pattern, start_date, end_date")
{
    ferrite_bytes pattern, start_date, end_date;
    if (!ferrite_take_text("pattern", &pattern) || !ferrite_take_text("start_date", &start_date)
        || !ferrite_take_text("end_date", &end_date) || !ferrite_take_end())
        return false;

    sums all = { NULL, 0, 0 };
    ferrite_scan scan = ferrite_scan_keys(pattern);
    ferrite_bytes key;
    bool found;
    do {
        if (!ferrite_next_key(&scan, &key, &found))
            return false;
        ferrite_bytes date = found ? date_of(key) : ferrite_text("");
        bool in_range = found && ferrite_compare(date, start_date) >= 0
                        && ferrite_compare(date, end_date) <= 0;
        if (in_range && !add_counters(&all, key))
            return false;
    } while (found);

    ferrite_reply_map(all.count);
    for (uint32_t i = 0; i < all.count; i++) {
        ferrite_reply_bytes(all.items[i].name);
        ferrite_reply_i64(all.items[i].total);
    }
    return true;
}
