"""The table of cases that the scripts in Lua and the functions in Rust are tested with, on a store in memory."""

import pytest
import table

import ferrite
import functions  # noqa: F401, its functions are registered

CASES = table.read("from-lua/cases.json")


def test_every_function_has_cases():
    assert {case["function"] for case in CASES} == set(ferrite.entries)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_case(case):
    table.hold(case)
