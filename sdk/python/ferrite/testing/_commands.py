"""The commands of the store in memory."""

from ferrite._errors import Error
from ferrite._replies import OK, Simple
from ferrite.testing._glob import matches
from ferrite.testing._keyspace import (
    SYNTAX,
    TYPES,
    Scores,
    add,
    command,
    integer,
    real,
    real_text,
    size,
    span,
    wrong_count,
)

# Strings


@command("GET", 1, 1)
def _get(space, key):
    return space.value(key, bytes)


def _expiry(space, text: bytes, unit: int, name: str) -> int:
    milliseconds = integer(text) * unit
    if milliseconds <= 0:
        raise Error(f"ERR invalid expire time in '{name}' command")
    return space.now + milliseconds


@command("SET", 2)
def _set(space, key, value, *options):
    found = space.item(key)
    given, expires = set(), None
    rest = list(options)
    while rest:
        option = rest.pop(0).upper().decode("latin-1")
        if option == "KEEPTTL":
            expires = found and found[1]
        elif option in ("EX", "PX"):
            if not rest:
                raise Error(SYNTAX)
            expires = _expiry(space, rest.pop(0), 1000 if option == "EX" else 1, "set")
        elif option not in ("NX", "XX", "GET"):
            raise Error(SYNTAX)
        given.add(option)
    if {"NX", "XX"} <= given or len(given & {"KEEPTTL", "EX", "PX"}) > 1:
        raise Error(SYNTAX)
    before = _get(space, key) if "GET" in given else None
    refused = "NX" in given and found or "XX" in given and not found
    if not refused:
        space.items[key] = (value, expires)
    return before if "GET" in given else None if refused else OK


@command("SETNX", 2, 2)
def _setnx(space, key, value):
    return int(_set(space, key, value, b"NX") is not None)


@command("SETEX", 3, 3)
def _setex(space, key, seconds, value):
    space.items[key] = (value, _expiry(space, seconds, 1000, "setex"))
    return OK


@command("PSETEX", 3, 3)
def _psetex(space, key, milliseconds, value):
    space.items[key] = (value, _expiry(space, milliseconds, 1, "psetex"))
    return OK


@command("GETSET", 2, 2)
def _getset(space, key, value):
    return _set(space, key, value, b"GET")


@command("GETDEL", 1, 1)
def _getdel(space, key):
    value = _get(space, key)
    space.items.pop(key, None)
    return value


@command("MGET", 1)
def _mget(space, *keys):
    found = [space.item(key) for key in keys]
    return [item[0] if item and isinstance(item[0], bytes) else None for item in found]


@command("MSET", 2)
def _mset(space, *pairs):
    if len(pairs) % 2:
        raise wrong_count("mset")
    for key, value in zip(pairs[::2], pairs[1::2]):
        space.items[key] = (value, None)
    return OK


def _incr(space, key, delta: int):
    total = add(space.value(key, bytes), delta)
    space.put(key, str(total).encode())
    return total


command("INCR", 1, 1)(lambda space, key: _incr(space, key, 1))
command("DECR", 1, 1)(lambda space, key: _incr(space, key, -1))
command("INCRBY", 2, 2)(lambda space, key, delta: _incr(space, key, integer(delta)))
command("DECRBY", 2, 2)(lambda space, key, delta: _incr(space, key, -integer(delta)))


@command("INCRBYFLOAT", 2, 2)
def _incrbyfloat(space, key, delta):
    total = real_text(real(space.value(key, bytes, b"0")) + real(delta))
    space.put(key, total)
    return total


@command("APPEND", 2, 2)
def _append(space, key, value):
    whole = space.value(key, bytes, b"") + value
    space.put(key, whole)
    return len(whole)


@command("STRLEN", 1, 1)
def _strlen(space, key):
    return len(space.value(key, bytes, b""))


@command("GETRANGE", 3, 3)
def _getrange(space, key, start, stop):
    value = space.value(key, bytes, b"")
    return value[span(start, stop, len(value))]


# Keys


@command("DEL UNLINK", 1)
def _del(space, *keys):
    return sum(space.item(key) is not None and space.items.pop(key) is not None for key in keys)


@command("EXISTS", 1)
def _exists(space, *keys):
    return sum(space.item(key) is not None for key in keys)


def _expire(space, key, milliseconds: int):
    found = space.item(key)
    if not found:
        return 0
    if milliseconds <= 0:
        del space.items[key]
    else:
        space.items[key] = (found[0], space.now + milliseconds)
    return 1


command("EXPIRE", 2, 2)(lambda space, key, time: _expire(space, key, integer(time) * 1000))
command("PEXPIRE", 2, 2)(lambda space, key, time: _expire(space, key, integer(time)))


@command("PTTL", 1, 1)
def _pttl(space, key):
    found = space.item(key)
    return -2 if not found else -1 if found[1] is None else found[1] - space.now


@command("TTL", 1, 1)
def _ttl(space, key):
    milliseconds = _pttl(space, key)
    return milliseconds if milliseconds < 0 else (milliseconds + 500) // 1000


@command("PERSIST", 1, 1)
def _persist(space, key):
    found = space.item(key)
    if not found or found[1] is None:
        return 0
    space.items[key] = (found[0], None)
    return 1


@command("TYPE", 1, 1)
def _type(space, key):
    found = space.item(key)
    return Simple(TYPES[type(found[0])] if found else "none")


@command("RENAME", 2, 2)
def _rename(space, old, new):
    if not space.item(old):
        raise Error("ERR no such key")
    space.items[new] = space.items.pop(old)
    return OK


command("DBSIZE", 0, 0)(lambda space: len(space.keys()))


@command("FLUSHDB FLUSHALL", 0, 0)
def _flush(space):
    space.items.clear()
    return OK


@command("KEYS", 1, 1)
def _keys(space, pattern):
    return [key for key in space.keys() if matches(pattern, key)]


@command("SCAN", 1)
def _scan(space, cursor, *options):
    if not cursor.isdigit():
        raise Error("ERR invalid cursor")
    given = {name.upper(): value for name, value in zip(options[::2], options[1::2])}
    if len(options) % 2 or given.keys() - {b"MATCH", b"COUNT", b"TYPE"}:
        raise Error(SYNTAX)
    found = _keys(space, given.get(b"MATCH", b"*"))
    kind = given.get(b"TYPE", b"").decode("latin-1")
    return [b"0", [key for key in found if not kind or _type(space, key) == kind]]


# Hashes

command("HGET", 2, 2, dict)(lambda hash, field: hash.get(field))
command("HMGET", 2, None, dict)(lambda hash, *fields: [hash.get(field) for field in fields])
command("HEXISTS", 2, 2, dict)(lambda hash, field: int(field in hash))
command("HLEN", 1, 1, dict)(len)
command("HSTRLEN", 2, 2, dict)(lambda hash, field: len(hash.get(field, b"")))
command("HGETALL", 1, 1, dict)(lambda hash: [part for pair in sorted(hash.items()) for part in pair])
command("HKEYS", 1, 1, dict)(sorted)
command("HVALS", 1, 1, dict)(lambda hash: [hash[field] for field in sorted(hash)])


@command("HSET", 3, None, dict)
def _hset(hash, *pairs):
    if len(pairs) % 2:
        raise wrong_count("hset")
    before = len(hash)
    hash.update(zip(pairs[::2], pairs[1::2]))
    return len(hash) - before


@command("HSETNX", 3, 3, dict)
def _hsetnx(hash, field, value):
    return int(field not in hash and hash.setdefault(field, value) is value)


@command("HDEL", 2, None, dict)
def _hdel(hash, *fields):
    return sum(hash.pop(field, None) is not None for field in fields)


@command("HINCRBY", 3, 3, dict)
def _hincrby(hash, field, delta):
    total = add(hash.get(field), integer(delta), "ERR hash value is not an integer")
    hash[field] = str(total).encode()
    return total


@command("HINCRBYFLOAT", 3, 3, dict)
def _hincrbyfloat(hash, field, delta):
    total = real(delta) + real(hash.get(field, b"0"), "ERR hash value is not a float")
    hash[field] = real_text(total)
    return hash[field]


# Lists


def _push(items, values, left: bool):
    for value in values:
        items.insert(0 if left else len(items), value)
    return len(items)


command("LPUSH", 2, None, list)(lambda items, *values: _push(items, values, True))
command("RPUSH", 2, None, list)(lambda items, *values: _push(items, values, False))
command("LPUSHX", 2, None, list)(lambda items, *values: items and _push(items, values, True) or 0)
command("RPUSHX", 2, None, list)(lambda items, *values: items and _push(items, values, False) or 0)


def _pop(items, count, left: bool):
    wanted = 1 if count is None else size(count)
    if not items:
        return None
    popped = [items.pop(0 if left else -1) for _ in range(min(wanted, len(items)))]
    return popped[0] if count is None else popped


command("LPOP", 1, 2, list)(lambda items, count=None: _pop(items, count, True))
command("RPOP", 1, 2, list)(lambda items, count=None: _pop(items, count, False))
command("LLEN", 1, 1, list)(len)
command("LRANGE", 3, 3, list)(lambda items, start, stop: items[span(start, stop, len(items))])


def _place(items, index: bytes) -> int | None:
    at = integer(index)
    at += len(items) if at < 0 else 0
    return at if 0 <= at < len(items) else None


@command("LINDEX", 2, 2, list)
def _lindex(items, index):
    at = _place(items, index)
    return None if at is None else items[at]


@command("LPOS", 2, 2, list)
def _lpos(items, value):
    return items.index(value) if value in items else None


@command("LSET", 3, 3, list)
def _lset(items, index, value):
    if not items:
        raise Error("ERR no such key")
    at = _place(items, index)
    if at is None:
        raise Error("ERR index out of range")
    items[at] = value
    return OK


@command("LINSERT", 4, 4, list)
def _linsert(items, where, pivot, value):
    if where.upper() not in (b"BEFORE", b"AFTER"):
        raise Error(SYNTAX)
    if pivot not in items:
        return -1 if items else 0
    items.insert(items.index(pivot) + (where.upper() == b"AFTER"), value)
    return len(items)


@command("LREM", 3, 3, list)
def _lrem(items, count, value):
    wanted, before = integer(count), len(items)
    places = [at for at, item in enumerate(items) if item == value]
    places = places[wanted:] if wanted < 0 else places[: wanted or None]
    for at in reversed(places):
        del items[at]
    return before - len(items)


@command("LTRIM", 3, 3, list)
def _ltrim(items, start, stop):
    items[:] = items[span(start, stop, len(items))]
    return OK


@command("LMOVE", 4, 4)
def _lmove(space, source, target, out, into):
    if not {out.upper(), into.upper()} <= {b"LEFT", b"RIGHT"}:
        raise Error(SYNTAX)
    items = space.value(source, list, [])
    onto = items if source == target else space.value(target, list, [])
    moved = _pop(items, None, out.upper() == b"LEFT")
    if moved is not None:
        _push(onto, [moved], into.upper() == b"LEFT")
        space.put(source, items)
        space.put(target, onto)
    return moved


command("RPOPLPUSH", 2, 2)(lambda space, source, target: _lmove(space, source, target, b"RIGHT", b"LEFT"))


# Sets


@command("SADD", 2, None, set)
def _sadd(members, *added):
    before = len(members)
    members.update(added)
    return len(members) - before


@command("SREM", 2, None, set)
def _srem(members, *removed):
    before = len(members)
    members.difference_update(removed)
    return before - len(members)


command("SCARD", 1, 1, set)(len)
command("SISMEMBER", 2, 2, set)(lambda members, member: int(member in members))
command("SMISMEMBER", 2, None, set)(lambda members, *asked: [int(member in members) for member in asked])
command("SMEMBERS", 1, 1, set)(sorted)


def _combined(space, operation: str, keys) -> set:
    first, *others = (space.value(key, set, set()) for key in keys)
    return getattr(first, operation)(*others)


def _combination(name: str, operation: str) -> None:
    command(name, 1)(lambda space, *keys: sorted(_combined(space, operation, keys)))

    @command(f"{name}STORE", 2)
    def _store(space, target, *keys):
        result = _combined(space, operation, keys)
        space.items.pop(target, None)
        space.put(target, set(result))
        return len(result)


_combination("SINTER", "intersection")
_combination("SUNION", "union")
_combination("SDIFF", "difference")


@command("SMOVE", 3, 3)
def _smove(space, source, target, member):
    members, onto = space.value(source, set, set()), space.value(target, set, set())
    if member not in members:
        return 0
    members.discard(member)
    space.put(source, members)
    onto.add(member)
    space.put(target, onto)
    return 1


# Sorted sets


def _replied(pairs, with_scores: bool) -> list:
    if with_scores:
        return [part for member, score in pairs for part in (member, real_text(score))]
    return [member for member, _ in pairs]


@command("ZADD", 3, None, Scores)
def _zadd(scores, *words):
    words, given = list(words), set()
    while words and words[0].upper() in (b"NX", b"XX", b"GT", b"LT", b"CH", b"INCR"):
        given.add(words.pop(0).upper())
    if not words or len(words) % 2:
        raise Error(SYNTAX)
    if {b"NX", b"XX"} <= given:
        raise Error("ERR XX and NX options at the same time are not compatible")
    if {b"GT", b"LT"} <= given or b"NX" in given and given & {b"GT", b"LT"}:
        raise Error("ERR GT, LT, and/or NX options at the same time are not compatible")
    if b"INCR" in given and len(words) > 2:
        raise Error("ERR INCR option supports a single increment-element pair")
    pairs = [(member, real(score)) for score, member in zip(words[::2], words[1::2])]
    added = changed = 0
    incremented = None
    for member, score in pairs:
        old = scores.get(member)
        if b"INCR" in given:
            score += old or 0
        if old is None and b"XX" in given or old is not None and (
            b"NX" in given or b"GT" in given and score <= old or b"LT" in given and score >= old
        ):
            continue
        added += old is None
        changed += old is not None and old != score
        scores[member] = score
        incremented = real_text(score)
    if b"INCR" in given:
        return incremented
    return added + changed if b"CH" in given else added


command("ZINCRBY", 3, 3, Scores)(lambda scores, delta, member: _zadd(scores, b"INCR", delta, member))


@command("ZREM", 2, None, Scores)
def _zrem(scores, *members):
    return sum(scores.pop(member, None) is not None for member in members)


def _score(scores, member):
    return real_text(scores[member]) if member in scores else None


command("ZCARD", 1, 1, Scores)(len)
command("ZSCORE", 2, 2, Scores)(_score)
command("ZMSCORE", 2, None, Scores)(lambda scores, *members: [_score(scores, member) for member in members])


def _rank(scores, member, reverse: bool):
    members = [each for each, _ in scores.ranked()]
    if member not in members:
        return None
    return (members[::-1] if reverse else members).index(member)


command("ZRANK", 2, 2, Scores)(lambda scores, member: _rank(scores, member, False))
command("ZREVRANK", 2, 2, Scores)(lambda scores, member: _rank(scores, member, True))


def _between(scores, low: bytes, high: bytes) -> list:
    refused = "ERR min or max is not a float"
    (least, above), (most, below) = (
        (real(end.removeprefix(b"("), refused), end.startswith(b"(")) for end in (low, high)
    )
    return [
        (member, score)
        for member, score in scores.ranked()
        if least <= score <= most and not (above and score == least) and not (below and score == most)
    ]


def _query(scores, start, stop, options, by_score: bool, reverse: bool):
    with_scores, limit, rest = False, None, list(options)
    while rest:
        option = rest.pop(0).upper()
        if option == b"WITHSCORES":
            with_scores = True
        elif option == b"BYSCORE":
            by_score = True
        elif option == b"REV":
            reverse = True
        elif option == b"LIMIT" and len(rest) >= 2:
            limit = integer(rest.pop(0)), integer(rest.pop(0))
        else:
            raise Error(SYNTAX)
    if limit and not by_score:
        raise Error("ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX")
    if by_score:
        found = _between(scores, *((stop, start) if reverse else (start, stop)))
    else:
        found = scores.ranked()
    if reverse:
        found.reverse()
    if not by_score:
        found = found[span(start, stop, len(found))]
    if limit:
        offset, count = limit
        # A negative count is no limit.
        found = [] if offset < 0 else found[offset:][: None if count < 0 else count]
    return _replied(found, with_scores)


for _name, _by_score, _reverse in (
    ("ZRANGE", False, False),
    ("ZREVRANGE", False, True),
    ("ZRANGEBYSCORE", True, False),
    ("ZREVRANGEBYSCORE", True, True),
):
    command(_name, 3, None, Scores)(
        lambda scores, start, stop, *options, by_score=_by_score, reverse=_reverse: _query(
            scores, start, stop, options, by_score, reverse
        )
    )

command("ZCOUNT", 3, 3, Scores)(lambda scores, low, high: len(_between(scores, low, high)))


def _remove(scores, pairs):
    for member, _ in pairs:
        del scores[member]
    return len(pairs)


command("ZREMRANGEBYSCORE", 3, 3, Scores)(lambda scores, low, high: _remove(scores, _between(scores, low, high)))
command("ZREMRANGEBYRANK", 3, 3, Scores)(
    lambda scores, start, stop: _remove(scores, scores.ranked()[span(start, stop, len(scores))])
)


def _zpop(scores, count, reverse: bool):
    found = scores.ranked()[:: -1 if reverse else 1][: 1 if count is None else size(count)]
    _remove(scores, found)
    return _replied(found, True)


command("ZPOPMIN", 1, 2, Scores)(lambda scores, count=None: _zpop(scores, count, False))
command("ZPOPMAX", 1, 2, Scores)(lambda scores, count=None: _zpop(scores, count, True))
