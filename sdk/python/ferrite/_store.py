"""The functions that reach the store."""

from ferrite._errors import Error, excerpt
from ferrite._host import Failure, current, error
from ferrite._numbers import parse_int
from ferrite._replies import build, text_bytes

Key = str | bytes
Value = str | bytes | int | float


def _bytes(value: Value) -> bytes:
    if isinstance(value, str):
        return text_bytes(value)
    if isinstance(value, bytes):
        return value
    if isinstance(value, bool):
        return b"1" if value else b"0"
    if isinstance(value, (int, float)):
        return str(value).encode()
    if isinstance(value, (bytearray, memoryview)):
        return bytes(value)
    raise TypeError(f"{type(value).__name__} is no key or value: give str, bytes, int or float")


def _text(value: bytes | None, what: str, subject: bytes) -> str | None:
    if value is None:
        return None
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise Error(
            f"ERR the value of {what} {excerpt(subject)} must be UTF-8 text, not {excerpt(value)}"
        ) from None


def _run(operation: str, subject: bytes, *arguments):
    try:
        return getattr(current(), operation)(*arguments)
    except Failure as failure:
        raise error(failure, operation, subject) from None


def get(key: Key) -> str | None:
    """Reads a string, which must be UTF-8; None without the key."""
    name = _bytes(key)
    return _text(_run("get", name, name), "key", name)


def get_bytes(key: Key) -> bytes | None:
    """Reads a string's bytes; None without the key."""
    name = _bytes(key)
    return _run("get", name, name)


def get_int(key: Key) -> int:
    """Reads a string as an integer; 0 without the key."""
    name = _bytes(key)
    value = _run("get", name, name)
    if value is None:
        return 0
    number = parse_int(value.decode("latin-1"))
    if number is None:
        raise Error(
            f"ERR the value of key {excerpt(name)} must be a 64-bit integer, not {excerpt(value)}"
        )
    return number


def set(
    key: Key,
    value: Value,
    *,
    ttl: int | None = None,
    ttl_ms: int | None = None,
    if_absent: bool = False,
    if_present: bool = False,
    keep_ttl: bool = False,
) -> bool:
    """Writes a string, and removes the key's expiry unless it is kept or set.

    `ttl` is in seconds, `ttl_ms` in milliseconds. Returns False if the condition did not hold.
    """
    if if_absent and if_present:
        raise ValueError("if_absent and if_present exclude each other")
    if sum((ttl is not None, ttl_ms is not None, keep_ttl)) > 1:
        raise ValueError("ttl, ttl_ms and keep_ttl exclude each other")
    if ttl is not None:
        ttl_ms = ttl * 1000
    if ttl_ms is not None and not 0 < ttl_ms < 1 << 63:
        raise Error("ERR invalid expire time in 'set' command")
    name = _bytes(key)
    condition = "if-absent" if if_absent else "if-present" if if_present else "always"
    return _run("set", name, name, _bytes(value), condition, keep_ttl, ttl_ms)


def delete(*keys: Key) -> int:
    """Deletes keys; returns how many there were."""
    names = [_bytes(key) for key in keys]
    return _run("delete", names[0] if names else b"", names)


def exists(*keys: Key) -> int:
    """Returns how many of the keys there are."""
    names = [_bytes(key) for key in keys]
    return _run("exists", names[0] if names else b"", names)


def incr(key: Key, by: int = 1) -> int:
    """Adds to an integer, a missing one counts as 0; returns the sum."""
    name = _bytes(key)
    if not -(1 << 63) <= by < 1 << 63:
        raise Error("ERR value is not an integer or out of range")
    return _run("incr_by", name, name, by)


def expire(key: Key, seconds: int) -> bool:
    """Lets a key expire after so many seconds. Returns False without the key."""
    return expire_ms(key, seconds * 1000)


def expire_ms(key: Key, milliseconds: int) -> bool:
    """Lets a key expire after so many milliseconds. Returns False without the key."""
    name = _bytes(key)
    bounded = max(-(1 << 63), min(milliseconds, (1 << 63) - 1))
    return _run("expire", name, name, bounded)


def ttl_ms(key: Key) -> int:
    """Returns the milliseconds until a key expires; -1 if it does not, -2 without the key."""
    name = _bytes(key)
    return _run("ttl", name, name)


def hget(key: Key, field: Key) -> str | None:
    """Reads a field of a hash, which must be UTF-8; None without it."""
    name = _bytes(key)
    return _text(_run("hget", name, name, _bytes(field)), "a field of key", name)


def hget_bytes(key: Key, field: Key) -> bytes | None:
    """Reads a field's bytes; None without it."""
    name = _bytes(key)
    return _run("hget", name, name, _bytes(field))


def hset(key: Key, field: Key, value: Value) -> bool:
    """Writes a field of a hash; returns True if it is new."""
    name = _bytes(key)
    return _run("hset", name, name, _bytes(field), _bytes(value))


def hdel(key: Key, *fields: Key) -> int:
    """Deletes fields of a hash; returns how many there were."""
    name = _bytes(key)
    return _run("hdel", name, name, [_bytes(field) for field in fields])


def hgetall(key: Key) -> dict[str, str]:
    """Reads a hash; an empty one without the key."""
    name = _bytes(key)
    pairs = [_text(part, "a field of key", name) for part in call("HGETALL", name)]
    return dict(zip(pairs[::2], pairs[1::2]))


def keys(pattern: Key = "*") -> list[str]:
    """Returns all keys that match a pattern, each once, in order."""
    return sorted({_text(key, "KEYS, a key,", key) for key in call("KEYS", pattern)})


def scan(pattern: Key = "*", count: int = 1000):
    """Yields the keys that match a pattern, as SCAN finds them: a key may come twice."""
    cursor = b"0"
    while True:
        cursor, found = call("SCAN", cursor, "MATCH", pattern, "COUNT", count)
        for key in found:
            yield _text(key, "SCAN, a key,", key)
        if cursor == b"0":
            return


def call(command: Key, *arguments: Value):
    """Runs any command on data that the function's permissions allow.

    Returns None, an int, bytes, a `Simple` for a status, or a list of these.
    """
    words = [_bytes(command), *map(_bytes, arguments)]
    reply = build(_run("call", words[0], words))
    if isinstance(reply, Error):
        raise reply
    return reply


def log(*values: object, level: str = "info") -> None:
    """Writes a line to the server's log. Levels are trace, debug, info, warn and error."""
    if level not in ("trace", "debug", "info", "warn", "error"):
        raise ValueError(f"{level!r} is no level of the log: trace, debug, info, warn, error")
    current().log(level, " ".join(map(str, values)))


def time_ms() -> int:
    """Returns the milliseconds since 1970, the same throughout a call."""
    return current().time_ms()


def random_bytes(count: int) -> bytes:
    """Returns random bytes that nobody can guess."""
    if not 0 <= count <= 1 << 20:
        raise ValueError("random_bytes gives at most 1048576 bytes at once")
    return current().random(count)
