"""The table of cases that the examples of every language are tested with, on a store in memory."""

import pytest
import table

import ferrite
import functions  # noqa: F401, its functions are registered

COMMON = [case for case in table.read("cases/cases.json") if case["function"] in ferrite.entries]


def test_the_table_has_cases_for_every_function():
    assert {case["function"] for case in COMMON} == set(ferrite.entries)


@pytest.mark.parametrize("case", COMMON, ids=lambda case: case["name"])
def test_case(case):
    table.hold(case)
