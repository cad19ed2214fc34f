"""Functions that are called beside the data."""

import ferrite


@ferrite.function
def rate_limit(key: str, limit: int, window_secs: int) -> bool:
    """Allows at most `limit` calls in a window of so many seconds."""
    current = ferrite.get_int(key)
    if current >= limit:
        return False
    ferrite.incr(key)
    if current == 0:
        ferrite.expire(key, window_secs)
    return True
