"""The component: what its host calls, and how functions reach that host.

`ferrite-wasmc build` makes a component of this module with componentize-py; `wit_world` is made there.
"""

import gc
import os
import traceback

import wit_world
from componentize_py_types import Err
from wit_world.imports import data, host, network, types

from ferrite import _host
from ferrite._entries import entries
from ferrite._errors import Error, summary
from ferrite._replies import flatten

_FAILURES = {
    types.Failure_Denied: "denied",
    types.Failure_ReadOnly: "read-only",
    types.Failure_WrongType: "wrong-type",
    types.Failure_Invalid: "invalid",
    types.Failure_Limit: "limit",
    types.Failure_Store: "store",
}
_CONDITIONS = {
    "always": types.Condition.ALWAYS,
    "if-absent": types.Condition.IF_ABSENT,
    "if-present": types.Condition.IF_PRESENT,
}
_LEVELS = {
    "trace": host.Level.TRACE,
    "debug": host.Level.DEBUG,
    "info": host.Level.INFO,
    "warn": host.Level.WARN,
    "error": host.Level.ERROR,
}
_ITEMS = {
    "null": lambda _: types.Item_Null(),
    "boolean": types.Item_Boolean,
    "integer": types.Item_Integer,
    "double": types.Item_Double,
    "bulk": types.Item_Bulk,
    "simple": types.Item_Simple,
    "error": types.Item_Error,
    "array": types.Item_Array,
    "mapping": types.Item_Mapping,
}
_KINDS = {
    types.Item_Null: "null",
    types.Item_Boolean: "boolean",
    types.Item_Integer: "integer",
    types.Item_Double: "double",
    types.Item_Bulk: "bulk",
    types.Item_Simple: "simple",
    types.Item_Error: "error",
    types.Item_Array: "array",
    types.Item_Mapping: "mapping",
}


def _operation(function):
    def run(*arguments):
        try:
            return function(*arguments)
        except Err as failed:
            raise _host.Failure(_FAILURES.get(type(failed.value), "store")) from None

    return staticmethod(run)


def _request(function):
    def run(*parts):
        try:
            return function(network.Request(*parts))
        except Err as failed:
            if isinstance(failed.value, network.RequestError_Denied):
                raise _host.Failure("denied") from None
            raise _host.RequestFailed(failed.value.value) from None

    return staticmethod(run)


class Host:
    """The functions of the WIT as a host of `ferrite`."""

    get = _operation(data.get)
    delete = _operation(data.del_)
    exists = _operation(data.exists)
    incr_by = _operation(data.incr_by)
    expire = _operation(data.expire)
    ttl = _operation(data.ttl)
    hget = _operation(data.hget)
    hset = _operation(data.hset)
    hdel = _operation(data.hdel)

    @_operation
    def set(key, value, condition, keep_ttl, ttl_ms):
        if condition == "always" and not keep_ttl and ttl_ms is None:
            return data.set(key, value, None)
        return data.set(key, value, types.SetOptions(_CONDITIONS[condition], keep_ttl, ttl_ms))

    @_operation
    def call(words):
        return [(_KINDS[type(item)], getattr(item, "value", None)) for item in data.call(words)]

    @_request
    def http(request):
        response = network.send(request)
        return response.status, response.url, response.headers, response.body

    after_commit = _request(network.after_commit)
    config = staticmethod(network.config)

    @staticmethod
    def log(level, message):
        host.log(_LEVELS[level], message)

    time_ms = staticmethod(host.time_millis)
    random = staticmethod(host.random)


class WitWorld(wit_world.WitWorld):
    """The component's export."""

    def run(self, entry: str, input: types.Input) -> list:
        """Runs a call of an entry."""
        before = _host.enter(Host)
        try:
            reply = flatten(entries[entry](input.keys, input.args), [])
            return [_ITEMS[kind](value) for kind, value in reply]
        except Error as error:
            raise Err(str(error)) from None
        except BaseException as error:
            # The first line is what the caller is told, and what `WASM.ERRORS` keeps.
            host.log(host.Level.ERROR, f"{summary(error)}\n{traceback.format_exc().rstrip()}")
            # Not `raise`: componentize-py would print all of it again, and that it has panicked.
            os.abort()
        finally:
            _host.enter(before)


def warm_up() -> None:
    """Runs what a first call would otherwise do in every call, and puts all objects out of the
    collector's sight: each call begins with the state that the build ends with."""
    items = flatten({"a": [None, True, 1, 1.5, "b", b"c"]}, [])
    for kind, value in items:
        _ITEMS[kind](value)
    try:
        raise ValueError
    except ValueError as error:
        traceback.format_exc()
        summary(error)
    gc.collect()
    gc.freeze()
    gc.disable()
