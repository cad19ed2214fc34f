"""The tables that the server and every SDK are tested with."""

import json
from pathlib import Path

import pytest

from ferrite import Error, Simple
from ferrite._numbers import parse_float, parse_int
from ferrite.testing import Store
from ferrite.testing._glob import matches

TABLES = Path(__file__).parents[2]


def table(name):
    return json.loads((TABLES / name).read_text())


def expected(reply):
    if isinstance(reply, dict):
        return Simple(reply["simple"]) if "simple" in reply else reply["error"]
    return [expected(item) for item in reply] if isinstance(reply, list) else reply


@pytest.mark.parametrize("group", table("command-cases.json"))
def test_commands_reply_as_in_valkey(group):
    store = Store()
    for words, reply in table("command-cases.json")[group]:
        got = store.do(*words)
        if isinstance(reply, dict) and "any_order" in reply:
            reply = reply["any_order"]
            if words[0] == "HGETALL":
                got = [list(pair) for pair in zip(got[::2], got[1::2])]
            assert sorted(got) == reply, words
            continue
        if isinstance(got, Error):
            got = str(got)
        assert got == expected(reply) and type(got) is type(expected(reply)), words


def test_patterns_match_as_in_valkey():
    for pattern, text, matched in table("glob-cases.json"):
        assert matches(pattern.encode("latin-1"), text.encode("latin-1")) is matched, (pattern, text)


def test_numbers_are_read_as_in_every_sdk():
    cases = table("number-cases.json")
    for text, number in cases["integer"]:
        assert parse_int(text) == (None if number is None else int(number)), text
    for text, number in cases["float"]:
        got = parse_float(text)
        assert got == (None if number is None else float(number)), text
