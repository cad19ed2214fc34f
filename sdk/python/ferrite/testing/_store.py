"""A store in memory that functions are called on."""

from copy import deepcopy

from ferrite import _host
from ferrite._entries import Entry, entries
from ferrite._errors import Error
from ferrite._replies import build, flatten, text_bytes
from ferrite.testing import _commands  # noqa: F401, its commands are registered
from ferrite.testing._keyspace import Keyspace


def _bytes(value) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, bool):
        return b"1" if value else b"0"
    return text_bytes(str(value))


def _shown(value):
    """A reply for an assertion: text where it is UTF-8."""
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return value
    if isinstance(value, list):
        return [_shown(element) for element in value]
    return value


class Store:
    """A store in memory, with a clock that only `advance` moves.

    It has the usual commands on strings, hashes, lists, sets, sorted sets and keys.
    """

    def __init__(self) -> None:
        self._keyspace = Keyspace()
        self._random = 0
        #: What functions wrote to the log: pairs of a level and a text.
        self.log: list[tuple[str, str]] = []

    def call(self, function, *values, keys=None):
        """Calls a function as a client does: by its name or itself, with its values in order.

        `keys` are its KEYS, if it matters which values they are. Returns the reply, or raises the error
        reply as `ferrite.Error`. After any other exception the writes are undone.
        """
        entry = self._entry(function)
        before = deepcopy(self._keyspace.items)
        outer = _host.enter(_Host(self))
        try:
            result = entry([_bytes(key) for key in keys or []], [_bytes(value) for value in values])
            reply = _build(flatten(result, []))
        except Error:
            raise
        except BaseException:
            self._keyspace.items = before
            raise
        finally:
            _host.enter(outer)
        if isinstance(reply, Error):
            raise reply
        return reply

    def do(self, *words):
        """Runs a command of the store; its error is returned."""
        return _shown(self._keyspace.run([_bytes(word) for word in words]))

    def advance(self, milliseconds: int) -> None:
        """Moves the clock."""
        self._keyspace.now += milliseconds

    @staticmethod
    def _entry(function) -> Entry:
        if isinstance(function, str):
            return entries[function]
        for entry in entries.values():
            if entry.function is function:
                return entry
        raise ValueError(f"{function!r} is no function of @ferrite.function")


def _build(items: list):
    """The reply as a client sees it: maps are dicts, text is `str`."""

    def one(at: int):
        kind, value = items[at]
        at += 1
        if kind == "array":
            elements = []
            for _ in range(value):
                element, at = one(at)
                elements.append(element)
            return elements, at
        if kind == "mapping":
            pairs = {}
            for _ in range(value):
                key, at = one(at)
                pairs[key], at = one(at)
            return pairs, at
        return _shown(build([(kind, value)])), at

    return one(0)[0]


class _Host:
    """The store as functions see it."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def _run(self, *words):
        reply = self._store._keyspace.run(list(words))
        if isinstance(reply, Error):
            raise _host.Failure("wrong-type" if reply.code == "WRONGTYPE" else "invalid")
        return reply

    def get(self, key):
        return self._run(b"GET", key)

    def set(self, key, value, condition, keep_ttl, ttl_ms):
        words = [b"SET", key, value]
        words += {"if-absent": [b"NX"], "if-present": [b"XX"]}.get(condition, [])
        words += [b"KEEPTTL"] if keep_ttl else []
        words += [] if ttl_ms is None else [b"PX", b"%d" % ttl_ms]
        return self._run(*words) is not None

    def delete(self, keys):
        return self._run(b"DEL", *keys) if keys else 0

    def exists(self, keys):
        return self._run(b"EXISTS", *keys) if keys else 0

    def incr_by(self, key, delta):
        return self._run(b"INCRBY", key, b"%d" % delta)

    def expire(self, key, milliseconds):
        return bool(self._run(b"PEXPIRE", key, b"%d" % milliseconds))

    def ttl(self, key):
        return self._run(b"PTTL", key)

    def hget(self, key, field):
        return self._run(b"HGET", key, field)

    def hset(self, key, field, value):
        return bool(self._run(b"HSET", key, field, value))

    def hdel(self, key, fields):
        return self._run(b"HDEL", key, *fields) if fields else 0

    def call(self, words):
        return flatten(self._store._keyspace.run(list(words)), [])

    def log(self, level, message):
        self._store.log.append((level, message))

    def time_ms(self):
        return self._store._keyspace.now

    def random(self, count):
        """Returns 1, 2, 3, …"""
        first = self._store._random
        self._store._random += count
        return bytes((first + at + 1) % 256 for at in range(count))
