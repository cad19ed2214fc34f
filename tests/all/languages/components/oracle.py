"""Runs a component in wasmtime's component runtime, on the SDK's store in memory.

Reads calls from standard input, a JSON object a line with `keys` and `args` in hex, and writes each reply to
standard output: `{"error": text}`, or `{"items": [[case, value], …]}` with bytes in hex.
"""

import ctypes
import json
import sys

from wasmtime import Config, Engine, Store, WasiConfig, _ffi as ffi
from wasmtime.component import Component, Linker, Record, Variant
from wasmtime.component._types import ResultType

from ferrite import _host
from ferrite.testing import Store as Data
from ferrite.testing._store import _Host


class Failed(Exception):
    """A value of the error case of a result."""


def lower(self, store, value):
    """Chooses the case by `Failed`: the library chooses it by the type of the value, which is not enough."""
    failed = isinstance(value, Failed)
    ty = self.err if failed else self.ok
    raw = ffi.wasmtime_component_val_t()
    ty.convert_to_c(store, value.args[0] if failed else value, ctypes.pointer(raw))
    return ("err" if failed else "ok"), ffi.wasmtime_component_val_new(ctypes.byref(raw))


ResultType._lower = lower

data = Data()
host = _Host(data)


def operation(function):
    def run(_store, *arguments):
        try:
            return function(*arguments)
        except _host.Failure as failure:
            return Failed(Variant(str(failure)))

    return run


def set_value(key, value, options):
    if options is None:
        return host.set(key, value, "always", False, None)
    ttl = getattr(options, "ttl-ms")
    return host.set(key, value, options.condition, getattr(options, "keep-ttl"), ttl)


def call(words):
    return [Variant(kind, value) for kind, value in host.call(words)]


def main(path: str) -> None:
    engine = Engine(Config())
    store = Store(engine)
    wasi = WasiConfig()
    store.set_wasi(wasi)
    linker = Linker(engine)
    linker.allow_shadowing = True
    linker.add_wasip2()
    with linker.root() as root:
        with root.add_instance("ferrite:function/types@0.1.0"):
            pass
        with root.add_instance("ferrite:function/data@0.1.0") as interface:
            for name, function in {
                "get": host.get,
                "set": set_value,
                "del": host.delete,
                "exists": host.exists,
                "incr-by": host.incr_by,
                "expire": host.expire,
                "ttl": host.ttl,
                "hget": host.hget,
                "hset": host.hset,
                "hdel": host.hdel,
                "call": call,
            }.items():
                interface.add_func(name, operation(function))
        with root.add_instance("ferrite:function/host@0.1.0") as interface:
            interface.add_func("log", lambda _store, level, message: None)
            interface.add_func("time-millis", lambda _store: host.time_ms())
            interface.add_func("random", lambda _store, count: host.random(count))
    component = Component(engine, open(path, "rb").read())
    for line in sys.stdin:
        request = json.loads(line)
        # A new instance for each call, as the product has it.
        instance = linker.instantiate(store, component)
        function = instance.get_func(store, "probe")
        given = Record()
        given.keys = [bytes.fromhex(key) for key in request["keys"]]
        given.args = [bytes.fromhex(argument) for argument in request["args"]]
        reply = function(store, given)
        if isinstance(reply, str):
            answer = {"error": reply}
        else:
            shown = [[item.tag, item.payload.hex() if isinstance(item.payload, bytes) else item.payload] for item in reply]
            answer = {"items": shown}
        print(json.dumps(answer), flush=True)


main(sys.argv[1])
