"""The twenty functions of `../from-lua`, which replace scripts in Lua, in Python."""

import ferrite

# Limits: a fixed window, a sliding one, a token bucket.


@ferrite.function
def rate_limit(key: str, limit: int, window_secs: int) -> bool:
    """At most `limit` calls in a fixed window."""
    current = ferrite.get_int(key)
    if current >= limit:
        return False
    ferrite.incr(key)
    if current == 0:
        ferrite.expire(key, window_secs)
    return True


@ferrite.function
def sliding_window(key: str, now: int, window: int, limit: int, call: str) -> tuple[bool, int]:
    """At most `limit` calls in any window, by a sorted set of the calls' times; and how many are left."""
    ferrite.call("ZREMRANGEBYSCORE", key, "-inf", now - window)
    left = limit - ferrite.call("ZCARD", key)
    if left <= 0:
        return False, 0
    ferrite.call("ZADD", key, now, call)
    ferrite.expire_ms(key, window)
    return True, left - 1


@ferrite.function
def token_bucket(key: str, capacity: int, rate: int, now: int, cost: int) -> tuple[bool, int]:
    """A bucket of `capacity` tokens that refills by `rate` a second; or how many ms to wait.

    Counts thousandths of a token, so that all of it stays in integers.
    """
    full = capacity * 1000
    since = now - field_int(key, "at", now)
    tokens = min(full, field_int(key, "tokens", full) + max(0, since) * rate) - cost * 1000
    if tokens < 0:
        return False, rounded_up(-tokens, rate)
    ferrite.hset(key, "tokens", tokens)
    ferrite.hset(key, "at", now)
    ferrite.expire_ms(key, rounded_up(full - tokens, rate) + 1000)
    return True, 0


def rounded_up(amount: int, by: int) -> int:
    """The quotient, or the next integer above it."""
    return -(-amount // by)


# Locks with an owner and an end.


@ferrite.function
def lock_acquire(lock: str, fence: str, owner: str, ttl: int) -> int | None:
    """Takes a lock; its fencing token, or None where somebody has it."""
    if ferrite.set(lock, owner, if_absent=True, ttl_ms=ttl):
        return ferrite.incr(fence)
    return None


@ferrite.function
def lock_release(lock: str, owner: str) -> bool:
    """Gives a lock back, if it is still the owner's."""
    return ferrite.get(lock) == owner and ferrite.delete(lock) == 1


@ferrite.function
def lock_extend(lock: str, owner: str, ttl: int) -> bool:
    """Keeps a lock for longer, if it is still the owner's."""
    return ferrite.get(lock) == owner and ferrite.expire_ms(lock, ttl)


# Updates on a condition.


@ferrite.function
def compare_and_set(key: str, expected: str, new: str) -> bool:
    """Replaces a value that is what is expected."""
    return ferrite.get(key) == expected and ferrite.set(key, new)


@ferrite.function
def bounded_counter(key: str, delta: int, least: int, most: int) -> tuple[bool, int]:
    """Adds to a counter, unless that would lead out of its bounds; and the counter."""
    current = ferrite.get_int(key)
    if not least <= current + delta <= most:
        return False, current
    ferrite.set(key, current + delta)
    return True, current + delta


@ferrite.function
def versioned_update(key: str, version: int, *changes: str) -> tuple[bool, int]:
    """Updates a record that nobody has changed since `version` was read; and its version now."""
    current = field_int(key, "version", 0)
    if current != version:
        return False, current
    for field, value in pairs("'changes'", changes):
        ferrite.hset(key, field, value)
    return True, ferrite.call("HINCRBY", key, "version", 1)


@ferrite.function
def keep_maximum(key: str, candidate: int) -> bool:
    """Keeps the greatest value seen; whether that is the candidate."""
    if ferrite.exists(key) and ferrite.get_int(key) >= candidate:
        return False
    return ferrite.set(key, candidate)


# Leaderboards on sorted sets.


@ferrite.function
def leaderboard_submit(board: str, player: str, score: float) -> tuple[int, bytes]:
    """Enters a score, of which the best counts; the player's rank and best score."""
    ferrite.call("ZADD", board, "GT", score, player)
    rank = ferrite.call("ZREVRANK", board, player)
    return rank + 1, ferrite.call("ZSCORE", board, player)


@ferrite.function
def leaderboard_page(board: str, names: str, page: int, size: int) -> list[tuple[int, str | bytes, bytes]]:
    """A page of a board: rank, name and score of each player."""
    first = (page - 1) * size
    found = ferrite.call("ZREVRANGE", board, first, first + size - 1, "WITHSCORES")
    return [
        (rank, ferrite.hget(names, player) or player, score)
        for rank, (player, score) in enumerate(zip(found[::2], found[1::2]), first + 1)
    ]


# Orders: stock, balances, carts. All or nothing, also where a call fails half-way.


@ferrite.function
def inventory_reserve(stock: str, order: str, *items: str) -> int:
    """Reserves all items of an order or none; how many pieces that were."""
    counts = [(item, integer("a count", count)) for item, count in pairs("'items'", items)]
    for item, count in counts:
        left = field_int(stock, item, 0)
        if left < count:
            raise ferrite.Error(f"OUTOFSTOCK {item} has {left} left")
    for item, count in counts:
        ferrite.call("HINCRBY", stock, item, -count)
        ferrite.call("HINCRBY", order, item, count)
    return sum(count for _, count in counts)


@ferrite.function
def transfer(source: str, target: str, amount: int) -> tuple[int, int]:
    """Moves an amount between two balances; both balances."""
    if amount <= 0:
        raise ferrite.Error("BADAMOUNT an amount is more than 0")
    balance = ferrite.get_int(source)
    if balance < amount:
        raise ferrite.Error(f"INSUFFICIENT the balance is {balance}")
    return ferrite.incr(source, -amount), ferrite.incr(target, amount)


@ferrite.function
def cart_total(prices: str, cart: list) -> int:
    """Adds up a cart that comes as JSON: an article and a number of pieces in each element."""
    total = 0
    for item in cart:
        match item:
            case {"sku": str(sku), "count": int(count)}:
                price = field_int(prices, sku)
                if price is None:
                    raise ferrite.Error(f"NOPRICE {sku} has no price")
                total += price * count
            case _:
                raise ferrite.Error(f"an item has a text `sku` and an integer `count`, unlike {item!r}")
    return total


# Queues: messages once, jobs under a lease, jobs for later.


@ferrite.function
def dedupe(marker: str, ttl_secs: int) -> bool:
    """Returns True if a message is seen for the first time."""
    return ferrite.set(marker, 1, if_absent=True, ttl=ttl_secs)


@ferrite.function
def queue_take(pending: str, taken: str, now: int, lease: int, most: int) -> list[bytes]:
    """Takes jobs from a queue under a lease; who finishes one removes it from `taken`."""
    jobs: list[bytes] = []
    while len(jobs) < most and (job := ferrite.call("LPOP", pending)) is not None:
        ferrite.call("ZADD", taken, now + lease, job)
        jobs.append(job)
    return jobs


@ferrite.function
def delayed_jobs(schedule: str, queue: str, now: int, most: int) -> int:
    """Moves jobs that are due to the queue; how many."""
    due = ferrite.call("ZRANGEBYSCORE", schedule, "-inf", now, "LIMIT", 0, most)
    for job in due:
        ferrite.call("ZREM", schedule, job)
        ferrite.call("RPUSH", queue, job)
    return len(due)


# Keys by pattern, and sessions.


@ferrite.function
def delete_by_pattern(pattern: str) -> int:
    """Deletes all keys that match; how many."""
    return ferrite.delete(*ferrite.keys(pattern))


@ferrite.function
def session_touch(key: str, ttl_secs: int, now: int) -> tuple[str, int] | None:
    """Reads a session and keeps it alive: its user and how often it was read; None where it is gone."""
    user = ferrite.hget(key, "user")
    if user is None:
        return None
    ferrite.hset(key, "seen", now)
    ferrite.expire(key, ttl_secs)
    return user, ferrite.call("HINCRBY", key, "hits", 1)


# What several of them need.


def integer(what: str, digits: str) -> int:
    """Reads an integer. `what` says in errors which one."""
    try:
        return int(digits)
    except ValueError:
        raise ferrite.Error(f'{what} must be a 64-bit integer, not "{digits}"') from None


def field_int(key: str, field: str, otherwise=None):
    """Reads a field of a hash as an integer; `otherwise` without it."""
    value = ferrite.hget(key, field)
    return otherwise if value is None else integer(f'the value of field "{field}"', value)


def pairs(what: str, values: tuple[str, ...]) -> list[tuple[str, str]]:
    """Takes values two by two. `what` says in errors which ones."""
    if len(values) % 2 == 1:
        raise ferrite.Error(f"{what} must come in pairs, not as {len(values)} values")
    return list(zip(values[::2], values[1::2]))
