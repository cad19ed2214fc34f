"""Calls functions of `typed.wat` in wasmtime's component runtime.

Reads calls from standard input, a JSON object a line with `name` and `args`, and writes each result to standard
output as a reply: `{"bulk": hex}`, `{"int": n}`, `{"double": text}`, `{"bool": b}`, `{"null": 0}`, `{"ok": 0}`,
`{"array": [...]}`, `{"map": [[key, value], ...]}` or `{"error": text}`.
"""

import json
import sys

from wasmtime import Config, Engine, Store
from wasmtime.component import Component, Linker, Record, Variant

BYTES = {"bytes"}


def bulk(value):
    return {"bulk": (value if isinstance(value, bytes) else value.encode()).hex()}


def reply(value):
    """The reply for a value whose type its Python value tells."""
    if value is None:
        return {"null": 0}
    if isinstance(value, bool):
        return {"bool": value}
    if isinstance(value, int):
        return {"int": value} if value < 1 << 63 else bulk(str(value))
    if isinstance(value, float):
        return {"double": repr(value)}
    if isinstance(value, (str, bytes)):
        return bulk(value)
    if isinstance(value, (list, tuple)):
        return {"array": [reply(one) for one in value]}
    if isinstance(value, Variant):
        if value.payload is None:
            return bulk(value.tag)
        return {"map": [[bulk(value.tag), reply(value.payload)]]}
    if isinstance(value, Record):
        return {"map": [[bulk(name), reply(one)] for name, one in vars(value).items()]}
    raise TypeError(f"no reply for {value!r}")


def shape(value):
    """A case of `shape` comes as its payload if that tells the case."""
    if isinstance(value, Variant):
        return reply(value)
    if value is None:
        return bulk("none")
    name = "small" if isinstance(value, bool) else "large" if isinstance(value, int) else "names"
    return {"map": [[bulk(name), reply(value)]]}


def result(name, args, value):
    if name == "nothing":
        return {"ok": 0}
    if name == "verdict":
        failed = args[0] < 0
        return {"error": "ERR the function failed"} if failed else bulk("OK")
    if name in ("result", "coded") and args[0] < 0:
        text = value.payload if isinstance(value, Variant) else value
        return {"error": text if name == "result" else f"ERR {text}"}
    if name in ("result", "coded") and isinstance(value, Variant):
        value = value.payload
    if name == "shapes":
        fields = {name: reply(one) for name, one in vars(value).items() if name != "shapes"}
        fields["shapes"] = {"array": [shape(one) for one in value.shapes]}
        order = ["pair", "shapes", "maybe", "color", "letter"]
        return {"map": [[bulk(name), fields[name]] for name in order]}
    return reply(value)


def main(path: str) -> None:
    engine = Engine(Config())
    store = Store(engine)
    component = Component(engine, open(path, "rb").read())
    linker = Linker(engine)
    for line in sys.stdin:
        request = json.loads(line)
        instance = linker.instantiate(store, component)
        function = instance.get_func(store, request["name"])
        args = [bytes.fromhex(one["hex"]) if isinstance(one, dict) else one for one in request["args"]]
        value = function(store, *args)
        function.post_return(store)
        print(json.dumps(result(request["name"], args, value)), flush=True)


main(sys.argv[1])
