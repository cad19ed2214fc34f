"""Parameters, replies and the functions of the store."""

from dataclasses import dataclass

import pytest

import ferrite
from ferrite._errors import summary
from ferrite.testing import Store


@ferrite.function
def rate_limit(key: str, limit: int, window_secs: int) -> bool:
    current = ferrite.get_int(key)
    if current >= limit:
        return False
    ferrite.incr(key)
    if current == 0:
        ferrite.expire(key, window_secs)
    return True


@dataclass
class Order:
    item: str
    count: int = 1


@ferrite.function
def order(order: Order, *notes: str, ):
    return {"item": order.item, "count": order.count, "notes": list(notes)}


@ferrite.function
def everything(on: bool, number: float, raw: bytes, anything: ferrite.Json, rest: list[int]):
    return [on, number, raw, anything, rest]


@ferrite.function
def echo(value: ferrite.Json):
    return value


@ferrite.function(name="fail:late")
def fail_late(key):
    ferrite.set(key, "written")
    ferrite.hset(key, "field", "value")


@ferrite.function
def maybe(key: str, count: int | None = None):
    return count


@pytest.fixture
def store():
    return Store()


def refused(store, *call):
    with pytest.raises(ferrite.Error) as refusal:
        store.call(*call)
    return str(refusal.value)


def test_a_window_counts_and_ends(store):
    assert [store.call(rate_limit, "api:1", 2, 60) for _ in range(3)] == [True, True, False]
    store.advance(60_000)
    assert store.call("rate_limit", "api:1", 2, 60) is True


def test_input_that_does_not_fit_is_refused_with_its_place(store):
    assert refused(store, rate_limit, "k", 1) == (
        "ERR rate_limit(key, limit, window_secs): no value for 'window_secs' (int); got 0 keys and 2 arguments"
    )
    assert "ARGS[4] is one too many" in refused(store, rate_limit, "k", 1, 2, 3)
    assert refused(store, rate_limit, "k", "two", 3) == (
        "ERR rate_limit: 'limit' (ARGS[2], int) must be a 64-bit integer, not \"two\""
    )
    assert "must be UTF-8 text, not \"\\xffk\"" in refused(store, rate_limit, b"\xffk", 1, 2)
    assert "must be JSON (missing field `item`)" in refused(store, order, "{}")
    assert "must be JSON (field `count` is no int)" in refused(store, order, '{"item":"a","count":"b"}')
    assert "must be JSON (expected an object)" in refused(store, order, "[]")
    assert "must be 1, 0, true or false" in refused(store, everything, "yes", 1, "", "1")


def test_parameters_are_filled_by_their_annotations(store):
    assert store.call(order, '{"item":"tea","other":1}', "a", "b") == {
        "item": "tea",
        "count": 1,
        "notes": ["a", "b"],
    }
    got = store.call(everything, "1", "1e3", b"\xff", '{"a":[1]}', 4, 5)
    assert got == [True, 1000.0, b"\xff", {"a": [1]}, [4, 5]]
    assert store.call(maybe, "k") is None and store.call(maybe, "k", 3) == 3


def test_replies_are_what_they_were(store):
    deep = {"n": None, "t": True, "i": -1, "big": 1 << 70, "f": 0.5, "s": "ü", "l": [1, [2, {}]]}
    with_text = {**deep, "big": str(1 << 70)}
    import json

    assert store.call(echo, json.dumps(deep)) == with_text
    with pytest.raises(TypeError, match="object cannot be a reply"):
        from ferrite._replies import flatten

        flatten(object(), [])
    with pytest.raises(TypeError, match="more than 128 collections"):
        nested = []
        for _ in range(200):
            nested = [nested]
        flatten(nested, [])


@ferrite.function
def broken(key):
    ferrite.set(key, "written")
    return [][0]


def test_an_exception_undoes_the_writes_and_an_error_does_not(store):
    assert refused(store, "fail:late", "k").startswith("WRONGTYPE ")
    assert store.do("GET", "k") == "written"
    with pytest.raises(IndexError):
        store.call(broken, "other")
    assert store.do("EXISTS", "other") == 0


def test_errors_have_a_code():
    assert str(ferrite.Error("nothing")) == "ERR nothing"
    assert ferrite.Error("OUTOFSTOCK tea is gone").code == "OUTOFSTOCK"


def test_without_a_store_functions_say_so():
    with pytest.raises(RuntimeError, match="ferrite.testing.Store"):
        ferrite.get("k")


def test_bad_functions_are_refused_where_they_stand():
    with pytest.raises(TypeError, match="'x' is of a type that cannot be a parameter"):

        @ferrite.function
        def odd(x: object):
            pass

    with pytest.raises(TypeError, match="'x' has no position"):

        @ferrite.function
        def named(*, x):
            pass

    with pytest.raises(ValueError, match="two functions"):
        ferrite.function(rate_limit)
    with pytest.raises(ValueError, match="cannot be an entry's name"):
        ferrite.function(lambda key: key)


def test_an_exception_is_told_on_one_line_with_the_frames_of_a_recursion_counted():
    def deeper(count):
        return deeper(count - 1) if count else [1, 2, 3][7]

    def fails(kind):
        raise kind("on purpose:\nx")

    def told(function, *arguments):
        try:
            function(*arguments)
        except Exception as error:
            return summary(error)
        raise AssertionError("nothing was raised")

    here = deeper.__code__.co_firstlineno + 1
    text = told(deeper, 5)
    # The innermost frame is on the same line as the others.
    assert f"functions.py:{here} in deeper, 6 times < " in text
    assert text.startswith("IndexError: list index out of range (")
    assert told(fails, ValueError).startswith("ValueError: on purpose: x (")
    assert "import it at the top of a module" in told(fails, ImportError)
    frames = {}
    for number in range(20):
        exec(f"def f{number}():\n  return f{number + 1}()" if number < 19 else "def f19(): 1 / 0", frames)
    assert told(frames["f0"]).endswith(" in f12 < ...)")
