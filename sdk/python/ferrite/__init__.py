"""Functions for Ferrite WASM in Python.

A function is ordinary Python with a decorator. Its parameters are filled from the call's KEYS, then its
ARGS, in order, and its result becomes the reply. All of a call's writes take effect together when it
has replied, also with an `Error`, and none of them after any other exception.
"""

from ferrite import http
from ferrite._automation import cron, every, on
from ferrite._errors import Error
from ferrite._entries import Json, entries, function
from ferrite._replies import OK, Double, Simple
from ferrite._store import (
    call,
    delete,
    exists,
    expire,
    expire_ms,
    get,
    get_bytes,
    get_int,
    hdel,
    hget,
    hget_bytes,
    hgetall,
    hset,
    incr,
    keys,
    log,
    random_bytes,
    scan,
    set,
    time_ms,
    ttl_ms,
)
from ferrite.http import after_commit, config

__all__ = [
    "OK",
    "Double",
    "Error",
    "Json",
    "Simple",
    "after_commit",
    "call",
    "config",
    "cron",
    "delete",
    "entries",
    "every",
    "exists",
    "expire",
    "expire_ms",
    "function",
    "get",
    "get_bytes",
    "get_int",
    "hdel",
    "hget",
    "hget_bytes",
    "hgetall",
    "hset",
    "http",
    "incr",
    "keys",
    "log",
    "on",
    "random_bytes",
    "scan",
    "set",
    "time_ms",
    "ttl_ms",
]
