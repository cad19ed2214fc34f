"""A table of cases, applied to functions in Python on a store in memory. The tests of the examples share it."""

import json
from pathlib import Path

import ferrite
from ferrite.testing import Store


def read(path: str) -> list[dict]:
    """The cases of a table, by its path below `examples`."""
    return json.loads((Path(__file__).parents[1] / path).read_text())


def given(value):
    """A key or an argument of a call."""
    return bytes.fromhex(value["hex"]) if isinstance(value, dict) else value


def matches(reply, expected) -> bool:
    """True if a reply is what the table says."""
    if isinstance(expected, list):
        alike = isinstance(reply, list) and len(reply) == len(expected)
        return alike and all(map(matches, reply, expected))
    if not isinstance(expected, dict):
        return reply == expected and type(reply) is type(expected)
    (kind, value), *_ = expected.items()
    if kind == "map":
        return isinstance(reply, dict) and list(reply.items()) == [tuple(pair) for pair in value]
    if kind == "between":
        return value[0] <= int(reply) <= value[1]
    if kind == "error":
        return str(reply) == value and isinstance(reply, ferrite.Error)
    if kind == "error_with":
        return isinstance(reply, ferrite.Error) and all(part in str(reply) for part in value)
    raise AssertionError(f"the table has a new kind of reply, {kind}")


def hold(case: dict) -> None:
    """Runs a case on a store of its own, and fails where a reply is not the table's."""
    store = Store()
    for command in case.get("seed", []):
        store.do(*command)
    for call in case["calls"]:
        try:
            reply = store.call(case["function"], *map(given, call["args"]), keys=list(map(given, call["keys"])))
        except ferrite.Error as error:
            reply = error
        assert matches(reply, call["reply"]), f"{reply!r} is not {call['reply']!r}"
    for check in case.get("then", []):
        reply = store.do(*check["command"])
        assert matches(reply, check["reply"]), f"{check['command']}: {reply!r}"
