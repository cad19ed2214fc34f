"""Values of the five types by key, with their expiries, and how commands read their arguments."""

from ferrite._errors import Error
from ferrite._numbers import INT_MAX, INT_MIN, format_float, parse_float, parse_int

WRONG_TYPE = "WRONGTYPE Operation against a key holding the wrong kind of value"
NOT_INTEGER = "ERR value is not an integer or out of range"
NOT_FLOAT = "ERR value is not a valid float"
SYNTAX = "ERR syntax error"

#: Commands by name: how many arguments they take at least and at most, and their function.
commands: dict[bytes, tuple] = {}


class Scores(dict):
    """A sorted set: scores by member."""

    def ranked(self) -> list:
        return sorted(self.items(), key=lambda pair: (pair[1], pair[0]))


TYPES = {bytes: "string", list: "list", set: "set", dict: "hash", Scores: "zset"}


def command(names: str, least: int, most: int | None = None, default=None):
    """Makes a function a command. With a default, it is given the value at its first argument instead of
    that key: one of this type, an empty one without the key. What it leaves empty is removed."""

    def add(function):
        def run(keyspace, arguments):
            if default is None:
                return function(keyspace, *arguments)
            key, *rest = arguments
            value = keyspace.value(key, default, default())
            reply = function(value, *rest)
            keyspace.put(key, value)
            return reply

        for name in names.split():
            commands[name.encode()] = (least, most, run)
        return function

    return add


def wrong_count(name: str) -> Error:
    return Error(f"ERR wrong number of arguments for '{name.lower()}' command")


def integer(text: bytes, refused: str = NOT_INTEGER) -> int:
    """Reads an integer as the store does: no sign but a minus, no zero in front."""
    number = parse_int(text.decode("latin-1"))
    if number is None or str(number).encode() != text:
        raise Error(refused)
    return number


def size(text: bytes) -> int:
    """Reads a count that is not negative."""
    refused = "ERR value is out of range, must be positive"
    number = integer(text, refused)
    if number < 0:
        raise Error(refused)
    return number


def real(text: bytes, refused: str = NOT_FLOAT) -> float:
    number = parse_float(text.decode("latin-1"))
    if number is None:
        raise Error(refused)
    return number


def real_text(number: float) -> bytes:
    return format_float(number).encode()


def add(text: bytes | None, delta: int, refused: str = NOT_INTEGER) -> int:
    total = (0 if text is None else integer(text, refused)) + delta
    if not INT_MIN <= total <= INT_MAX:
        raise Error("ERR increment or decrement would overflow")
    return total


def span(start: bytes, stop: bytes, length: int) -> slice:
    """The places from start to stop of a list; negative numbers count from the end."""
    first, last = (at + length if at < 0 else at for at in (integer(start), integer(stop)))
    return slice(max(first, 0), max(last + 1, 0))


class Keyspace:
    """The values, and a clock that only tests move."""

    def __init__(self) -> None:
        self.now = 1_700_000_000_000
        self.items: dict[bytes, tuple] = {}

    def run(self, words: list[bytes]):
        """Runs a command; its error is returned, not raised."""
        name = words[0].upper()
        if name not in commands:
            shown = name.decode("latin-1")
            return Error(f"ERR the test store does not know '{shown}'; test this with `ferrite-wasmc run`")
        least, most, run = commands[name]
        if not least <= len(words) - 1 <= (len(words) if most is None else most):
            return wrong_count(name.decode())
        try:
            return run(self, words[1:])
        except Error as error:
            return error

    def item(self, key: bytes) -> tuple | None:
        found = self.items.get(key)
        if found and found[1] is not None and found[1] <= self.now:
            del self.items[key]
            return None
        return found

    def value(self, key: bytes, kind: type, default=None):
        found = self.item(key)
        if found is None:
            return default
        if type(found[0]) is not kind:
            raise Error(WRONG_TYPE)
        return found[0]

    def put(self, key: bytes, value) -> None:
        """Writes a value and keeps the key's expiry; an empty collection is removed."""
        if not value and not isinstance(value, bytes):
            self.items.pop(key, None)
            return
        found = self.item(key)
        self.items[key] = (value, found[1] if found else None)

    def keys(self) -> list[bytes]:
        return sorted(key for key in list(self.items) if self.item(key))


