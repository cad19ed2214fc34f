"""Results of functions as replies: a flat list of items, the head of a collection before its elements."""

from ferrite._errors import Error
from ferrite._numbers import INT_MAX, INT_MIN

_DEPTH_MAX = 128


class Simple(str):
    """A simple string, such as `OK`, in place of a bulk string."""


OK = Simple("OK")


class Double(float):
    """A double, for numbers that come as `int`."""


def flatten(value, out: list) -> list:
    """Appends a result to `out` as pairs of a kind and a value."""
    _flatten(value, out, _DEPTH_MAX)
    return out


def _flatten(value, out: list, depth: int) -> None:
    if depth == 0:
        raise TypeError(f"the result has more than {_DEPTH_MAX} collections inside each other")
    if value is None:
        out.append(("null", None))
    elif isinstance(value, Simple):
        out.append(("simple", text_bytes(value).decode()))
    elif isinstance(value, str):
        out.append(("bulk", text_bytes(value)))
    elif isinstance(value, (bytes, bytearray, memoryview)):
        out.append(("bulk", bytes(value)))
    elif isinstance(value, bool):
        out.append(("boolean", value))
    elif isinstance(value, int):
        if INT_MIN <= value <= INT_MAX:
            out.append(("integer", int(value)))
        else:
            # Beyond the range of integer replies.
            out.append(("bulk", str(value).encode()))
    elif isinstance(value, float):
        out.append(("double", float(value)))
    elif isinstance(value, Error):
        out.append(("error", str(value)))
    elif isinstance(value, dict):
        out.append(("mapping", len(value)))
        for key, element in value.items():
            _flatten(key, out, depth - 1)
            _flatten(element, out, depth - 1)
    elif isinstance(value, (list, tuple, set, frozenset)):
        out.append(("array", len(value)))
        for element in value:
            _flatten(element, out, depth - 1)
    else:
        raise TypeError(
            f"{type(value).__name__} cannot be a reply: return None, bool, int, float, str, bytes, or a "
            "list, tuple, set or dict of these"
        )


def text_bytes(text: str) -> bytes:
    """The bytes of a text; halves of characters become U+FFFD, because the store and callers get text."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()


def build(items: list):
    """Makes a value of a reply's items: the reverse of `flatten`, for replies of commands."""
    value, rest = _build(items, 0)
    if rest != len(items):
        raise ValueError("a reply with more than one value")
    return value


def _build(items: list, at: int):
    kind, value = items[at]
    at += 1
    if kind == "array":
        elements = []
        for _ in range(value):
            element, at = _build(items, at)
            elements.append(element)
        return elements, at
    if kind == "error":
        return Error(value), at
    if kind == "simple":
        return Simple(value), at
    return value, at
