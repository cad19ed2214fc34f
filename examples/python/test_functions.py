"""The table of cases that the examples of every language are tested with, on a store in memory."""

import json
from pathlib import Path

import pytest

import ferrite
import functions  # noqa: F401, its functions are registered
from ferrite.testing import Store

CASES = json.loads((Path(__file__).parents[1] / "cases/cases.json").read_text())
COMMON = [case for case in CASES if case["function"] in ferrite.entries]


def given(value):
    return bytes.fromhex(value["hex"]) if isinstance(value, dict) else value


def matches(reply, expected) -> bool:
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


def test_the_table_has_cases_for_every_function():
    assert {case["function"] for case in COMMON} == set(ferrite.entries)


@pytest.mark.parametrize("case", COMMON, ids=lambda case: case["name"])
def test_case(case):
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
