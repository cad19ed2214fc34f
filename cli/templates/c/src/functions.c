/* Functions that are called beside the data. */
#include "ferrite.h"

/* At most `limit` calls in a window of so many seconds. */
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
