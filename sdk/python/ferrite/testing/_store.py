"""A store in memory that functions are called on."""

from copy import deepcopy
from typing import NamedTuple

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


class Request(NamedTuple):
    """A request that a function has made. The names of headers are as the function wrote them."""

    method: str
    url: str
    headers: dict[str, str]
    body: bytes


class Store:
    """A store in memory, with a clock that only `advance` moves.

    It has the usual commands on strings, hashes, lists, sets, sorted sets and keys.
    """

    def __init__(self) -> None:
        self._keyspace = Keyspace()
        self._random = 0
        #: What functions wrote to the log: pairs of a level and a text.
        self.log: list[tuple[str, str]] = []
        #: The requests that functions made, oldest first.
        self.requests: list[Request] = []
        #: The requests that functions made a part of their calls, oldest first.
        self.after_commit: list[Request] = []
        #: The configuration of the functions: values by name.
        self.config: dict[str, str] = {}
        self._responses: dict[tuple[str, str], tuple] = {}

    def call(self, function, *values, keys=None):
        """Calls a function as a client does: by its name or itself, with its values in order.

        `keys` are its KEYS, if it matters which values they are. Returns the reply, or raises the error
        reply as `ferrite.Error`. After any other exception the writes are undone.
        """
        entry = self._entry(function)
        before = deepcopy(self._keyspace.items)
        added = len(self.after_commit)
        outer = _host.enter(_Host(self))
        try:
            result = entry([_bytes(key) for key in keys or []], [_bytes(value) for value in values])
            reply = _build(flatten(result, []))
        except Error:
            raise
        except BaseException:
            self._keyspace.items = before
            del self.after_commit[added:]
            raise
        finally:
            _host.enter(outer)
        if isinstance(reply, Error):
            raise reply
        return reply

    def do(self, *words):
        """Runs a command of the store; its error is returned."""
        return _shown(self._keyspace.run([_bytes(word) for word in words]))

    def respond(self, method: str, url: str, status: int = 200, body="", headers=None) -> None:
        """Answers every request with this method and URL from now on. Requests without an answer fail."""
        pairs = [(name.lower(), _bytes(value)) for name, value in (headers or {}).items()]
        self._responses[method, url] = (status, url, pairs, _bytes(body))

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


def _request(method, url, headers, body) -> Request:
    return Request(method, url, {name: value.decode() for name, value in headers}, body)


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

    def http(self, method, url, headers, body, timeout_ms, redirects_max):
        self._store.requests.append(_request(method, url, headers, body))
        response = self._store._responses.get((method, url))
        if response is None:
            raise _host.RequestFailed(
                f"CONNECT the test has no response for {method} {url}; prepare one with Store.respond"
            )
        return response

    def after_commit(self, method, url, headers, body, timeout_ms, redirects_max):
        self._store.after_commit.append(_request(method, url, headers, body))
        own = {name.lower(): value for name, value in headers}.get("idempotency-key")
        return own.decode() if own else f"00000000-0000-4000-8000-{len(self._store.after_commit):012}"

    def config(self, name):
        return self._store.config.get(name)

    def log(self, level, message):
        self._store.log.append((level, message))

    def time_ms(self):
        return self._store._keyspace.now

    def random(self, count):
        """Returns 1, 2, 3, …"""
        first = self._store._random
        self._store._random += count
        return bytes((first + at + 1) % 256 for at in range(count))
