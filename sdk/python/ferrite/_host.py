"""The host that functions call: the real one in a component, a store in memory in tests.

A host has the methods `get`, `set`, `delete`, `exists`, `incr_by`, `expire`, `ttl`, `hget`, `hset`,
`hdel`, `call`, `log`, `time_ms`, `random`, `http`, `after_commit` and `config`. Keys and values are bytes;
failures are raised as `Failure`, and as `RequestFailed` by requests.
"""

from ferrite._errors import Error, excerpt


class Failure(Exception):
    """The host refused an operation, for one of the reasons of `failure` in the WIT."""


class RequestFailed(Exception):
    """A request has no response; the text is that of an error reply."""


_current = None


def current():
    """The host of this call."""
    if _current is None:
        raise RuntimeError(
            "there is no store here: use ferrite.testing.Store in tests, and `ferrite-wasmc run` for "
            "the real one; code at the top of a module runs when it is built, without a store"
        )
    return _current


def enter(host):
    """Makes `host` the current one, and returns the one before."""
    global _current
    before, _current = _current, host
    return before


def error(failure: Failure, operation: str, subject: bytes) -> Error:
    """The error reply for a failure of an operation on a key."""
    reason = str(failure)
    if reason == "wrong-type":
        return Error("WRONGTYPE Operation against a key holding the wrong kind of value")
    if reason == "invalid" and operation == "incr_by":
        return Error("ERR value is not an integer or out of range")
    code, text = {
        "denied": ("NOPERM", "not permitted"),
        "read-only": ("NOPERM", "the call may only read"),
        "limit": ("LIMIT", "a limit was reached"),
        "invalid": ("ERR", "invalid value or parameter"),
    }.get(reason, ("ERR", "the store failed"))
    return Error(f"{code} {operation} {excerpt(subject)}: {text}")
