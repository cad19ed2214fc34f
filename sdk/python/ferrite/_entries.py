"""Entries: functions with a decorator, whose parameters are filled from a call's keys and arguments."""

import dataclasses
import inspect
import json
import types
import typing

from ferrite._errors import Error, excerpt
from ferrite._numbers import parse_float, parse_int


class Json:
    """Annotates a parameter that is any JSON value. `dict`, `list` and dataclasses are JSON too."""


#: The entries of this program, by name.
entries: dict[str, "Entry"] = {}


class Refused(Exception):
    """A value does not fit its parameter; the text follows "must be"."""


def _read_str(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise Refused("UTF-8 text") from None


def _read_int(value: bytes) -> int:
    number = parse_int(value.decode("latin-1"))
    if number is None:
        raise Refused("a 64-bit integer")
    return number


def _read_float(value: bytes) -> float:
    number = parse_float(value.decode("latin-1"))
    if number is None:
        raise Refused("a number")
    return number


def _read_bool(value: bytes) -> bool:
    if value in (b"1", b"true"):
        return True
    if value in (b"0", b"false"):
        return False
    raise Refused("1, 0, true or false")


def _read_json(value: bytes):
    try:
        return json.loads(value.decode())
    except (ValueError, RecursionError) as error:
        raise Refused(f"JSON ({error})") from None


def _json_of(expected: type):
    def read(value: bytes):
        parsed = _read_json(value)
        if not isinstance(parsed, expected):
            kind = "an object" if expected is dict else "an array"
            raise Refused(f"JSON (expected {kind})")
        return parsed

    return read


def _dataclass(cls: type):
    hints = typing.get_type_hints(cls)

    def read(value: bytes):
        members = _json_of(dict)(value)
        given = {}
        for field in dataclasses.fields(cls):
            if field.name in members:
                member, expected = members[field.name], hints[field.name]
                if not _fits(member, expected):
                    raise Refused(f"JSON (field `{field.name}` is no {_name(expected)})")
                given[field.name] = member
            elif (
                field.default is dataclasses.MISSING
                and field.default_factory is dataclasses.MISSING
            ):
                raise Refused(f"JSON (missing field `{field.name}`)")
        return cls(**given)

    return read


def _fits(member, expected) -> bool:
    """False if a JSON value is surely of another type than a field says."""
    if expected is float:
        return isinstance(member, (int, float)) and not isinstance(member, bool)
    if expected is int:
        return isinstance(member, int) and not isinstance(member, bool)
    if expected in (str, bool, dict, list):
        return isinstance(member, expected)
    return True


def _name(annotation) -> str:
    return getattr(annotation, "__name__", str(annotation))


_READERS = {
    str: _read_str,
    bytes: bytes,
    int: _read_int,
    float: _read_float,
    bool: _read_bool,
    Json: _read_json,
    dict: _json_of(dict),
    list: _json_of(list),
}


@dataclasses.dataclass
class Parameter:
    """A parameter: how it is read, and what it is called in errors."""

    name: str
    kind: str
    read: typing.Callable[[bytes], object]
    takes_rest: bool
    variadic: bool
    default: object


def _parameter(function: str, parameter: inspect.Parameter, annotation) -> Parameter:
    if parameter.kind in (parameter.KEYWORD_ONLY, parameter.VAR_KEYWORD):
        raise TypeError(f"{function}: '{parameter.name}' has no position; calls pass values by position")
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        # `X | None` is an X that may be left out.
        rest = [part for part in typing.get_args(annotation) if part is not type(None)]
        annotation = rest[0] if len(rest) == 1 else annotation
    variadic = parameter.kind == parameter.VAR_POSITIONAL
    kind, takes_rest, element = _name(annotation), variadic, annotation
    if typing.get_origin(annotation) is list and not variadic:
        (element,) = typing.get_args(annotation)
        kind, takes_rest = f"list[{_name(element)}]", True
    elif typing.get_origin(annotation) is dict:
        element = dict
    read = _dataclass(element) if dataclasses.is_dataclass(element) else _READERS.get(element)
    if read is None:
        raise TypeError(
            f"{function}: '{parameter.name}' is of a type that cannot be a parameter; there are str, bytes, "
            "int, float, bool, ferrite.Json, dict, list, dataclasses, and list[str] and the like, which "
            "take all values that are left"
        )
    return Parameter(parameter.name, kind, read, takes_rest, variadic, parameter.default)


class Entry:
    """A function that callers may call."""

    def __init__(self, function, name: str) -> None:
        self.function = function
        self.name = name
        hints = typing.get_type_hints(function)
        self.parameters = [
            _parameter(name, parameter, hints.get(parameter.name, str))
            for parameter in inspect.signature(function).parameters.values()
        ]

    def __call__(self, keys: list[bytes], args: list[bytes]):
        """Runs a call with its keys and arguments; returns the function's result."""
        return self.function(*self._take(keys, args))

    def _take(self, keys: list[bytes], args: list[bytes]) -> list:
        values = [*keys, *args]
        taken, at = [], 0
        for parameter in self.parameters:
            if parameter.takes_rest:
                rest = [self._read(parameter, values, at, keys) for at in range(at, len(values))]
                at = len(values)
                taken.extend(rest if parameter.variadic else [rest])
            elif at < len(values):
                taken.append(self._read(parameter, values, at, keys))
                at += 1
            elif parameter.default is not inspect.Parameter.empty:
                taken.append(parameter.default)
            else:
                raise Error(
                    f"{self._signature()}no value for '{parameter.name}' ({parameter.kind})"
                    f"{self._counts(keys, args)}"
                )
        if at < len(values):
            raise Error(
                f"{self._signature()}{_place(at, keys)} is one too many{self._counts(keys, args)}"
            )
        return taken

    def _read(self, parameter: Parameter, values: list[bytes], at: int, keys: list[bytes]):
        try:
            return parameter.read(values[at])
        except Refused as refused:
            raise Error(
                f"ERR {self.name}: '{parameter.name}' ({_place(at, keys)}, {parameter.kind}) must be "
                f"{refused}, not {excerpt(values[at])}"
            ) from None

    def _signature(self) -> str:
        names = ", ".join(parameter.name for parameter in self.parameters)
        return f"ERR {self.name}({names}): "

    @staticmethod
    def _counts(keys: list[bytes], args: list[bytes]) -> str:
        return f"; got {_plural(len(keys), 'key')} and {_plural(len(args), 'argument')}"


def _place(at: int, keys: list[bytes]) -> str:
    return f"KEYS[{at + 1}]" if at < len(keys) else f"ARGS[{at - len(keys) + 1}]"


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def function(target=None, *, name: str | None = None):
    """Makes a function an entry, which callers call by its name, or by `name`.

    Its parameters are filled from KEYS, then ARGS, in order, by their annotations: `str`, `bytes`, `int`,
    `float`, `bool`, `ferrite.Json`, `dict`, `list` and dataclasses (JSON), `list[str]` and the like (all that
    are left), `*values`. One without an annotation is a `str`. One with a default may be left out.
    """

    def add(target):
        entry = name or target.__name__
        if not entry.replace("_", "a").replace("-", "a").replace(":", "a").isalnum() or len(entry) > 128:
            raise ValueError(f"{entry!r} cannot be an entry's name: letters, digits, `_`, `-` and `:`")
        if entry in entries:
            raise ValueError(f"two functions would be the entry {entry!r}")
        entries[entry] = Entry(target, entry)
        return target

    return add if target is None else add(target)
