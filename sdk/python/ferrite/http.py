"""Requests to other servers, in the manner of the package `requests`.

The function's permissions must list each request in `allow_network`. A call waits for its response; it
is sent once for the call, also if the call begins again because of a conflict. Without a response,
`ferrite.Error` is raised, whose `code` is NOPERM, INVALID, LIMIT, ADDRESS, DNS, CONNECT, TLS, TIMEOUT,
REDIRECT, PROTOCOL or UNAVAILABLE.
"""

import json as _json
from collections.abc import Mapping

from ferrite import _host
from ferrite._errors import Error
from ferrite._replies import text_bytes

_UNQUOTED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


class Headers(Mapping):
    """The headers of a response. Names are looked up in any case; values that come twice have commas between."""

    def __init__(self, pairs) -> None:
        self._pairs = [(name.lower(), value) for name, value in pairs]

    def __getitem__(self, name: str) -> str:
        values = self.get_all(name)
        if not values:
            raise KeyError(name)
        return ", ".join(values)

    def __iter__(self):
        return iter(dict(self._pairs))

    def __len__(self) -> int:
        return len(dict(self._pairs))

    def __repr__(self) -> str:
        return f"Headers({self._pairs!r})"

    def get_all(self, name: str) -> list[str]:
        """All values of a header, in order."""
        return [value for known, value in self._pairs if known == name.lower()]


class Response:
    """A response, with its whole body."""

    def __init__(self, status_code: int, url: str, headers: Headers, content: bytes) -> None:
        #: The status, such as 200.
        self.status_code = status_code
        #: The URL that answered, which redirections may have changed.
        self.url = url
        self.headers = headers
        #: The body's bytes.
        self.content = content

    def __repr__(self) -> str:
        return f"<Response [{self.status_code}]>"

    def __bool__(self) -> bool:
        return self.ok

    @property
    def ok(self) -> bool:
        """True if the status is below 400."""
        return self.status_code < 400

    @property
    def text(self) -> str:
        """The body as text; what is not UTF-8 becomes U+FFFD."""
        return self.content.decode("utf-8", "replace")

    def json(self):
        """Reads the body as JSON; raises ValueError if it is none."""
        return _json.loads(self.content)

    def raise_for_status(self) -> None:
        """Raises `ferrite.Error` if the status is 400 or higher."""
        if not self.ok:
            raise Error(f"ERR {self.url.partition('?')[0]} answered with the status {self.status_code}")


def request(method: str, url: str, **options) -> Response:
    """Makes a request and waits for the response, whatever its status is.

    `params` are added to the URL; `data` is the body: text, bytes, or a mapping that becomes a form;
    `json` is a body that becomes JSON; `headers` are a mapping; `timeout` is in seconds, below the limit
    of the server; `allow_redirects=False` makes redirections responses like others.
    """
    status, answered, headers, body = _run("http", method, url, **options)
    pairs = [(name, value.decode("utf-8", "replace")) for name, value in headers]
    return Response(status, answered, Headers(pairs), body)


def get(url: str, params=None, **options) -> Response:
    """Makes a request by GET."""
    return request("GET", url, params=params, **options)


def head(url: str, **options) -> Response:
    """Makes a request by HEAD."""
    return request("HEAD", url, **options)


def options(url: str, **options) -> Response:
    """Makes a request by OPTIONS."""
    return request("OPTIONS", url, **options)


def post(url: str, data=None, json=None, **options) -> Response:
    """Makes a request by POST."""
    return request("POST", url, data=data, json=json, **options)


def put(url: str, data=None, **options) -> Response:
    """Makes a request by PUT."""
    return request("PUT", url, data=data, **options)


def patch(url: str, data=None, **options) -> Response:
    """Makes a request by PATCH."""
    return request("PATCH", url, data=data, **options)


def delete(url: str, **options) -> Response:
    """Makes a request by DELETE."""
    return request("DELETE", url, **options)


def after_commit(method: str, url: str, **options) -> str:
    """Makes a request a part of what the call commits, and returns its idempotency key.

    If the call commits, the host sends the request afterwards, and again until the server accepts it by a
    status from 200 to 299. It may arrive more than once, each time with the same header
    `idempotency-key`: the one that the request has, or a random one. Nothing is sent for a call that
    fails. The options are those of `ferrite.http.request`.
    """
    return _run("after_commit", method, url, **options)


def config(name: str) -> str | None:
    """Reads a value of the function's own configuration, which CONFIG of WASM.LOAD and WASM.CONFIG set."""
    return _host.current().config(name)


def _run(
    operation: str,
    method: str,
    url: str,
    *,
    params=None,
    data=None,
    json=None,
    headers=None,
    timeout: float | None = None,
    allow_redirects: bool = True,
):
    if data is not None and json is not None:
        raise ValueError("data and json exclude each other")
    pairs = [(str(name), _value(value)) for name, value in dict(headers or {}).items()]
    body, kind = _body(data, json)
    if kind and not any(name.lower() == "content-type" for name, _ in pairs):
        pairs.append(("content-type", kind.encode()))
    if timeout is not None and not 0 < timeout < 1 << 22:
        raise ValueError(f"a timeout is a number of seconds above 0, not {timeout!r}")
    timeout_ms = None if timeout is None else max(1, round(timeout * 1000))
    if params:
        before, hash, fragment = url.partition("#")
        url = f"{before}{'&' if '?' in before else '?'}{_form(params)}{hash}{fragment}"
    redirects_max = None if allow_redirects else 0
    try:
        run = getattr(_host.current(), operation)
        return run(method.upper(), url, pairs, body, timeout_ms, redirects_max)
    except _host.RequestFailed as failed:
        # The text has a code, or is one.
        text = str(failed)
        raise Error(text if " " in text else f"{text} a limit was reached") from None
    except _host.Failure as failure:
        raise _host.error(failure, operation, text_bytes(url)) from None


def _value(value) -> bytes:
    return value if isinstance(value, bytes) else text_bytes(str(value))


def _body(data, json) -> tuple[bytes, str | None]:
    """The body, and the type of its content."""
    if json is not None:
        return text_bytes(_json.dumps(json)), "application/json"
    if data is None:
        return b"", None
    if isinstance(data, str):
        return text_bytes(data), None
    if isinstance(data, (bytes, bytearray, memoryview)):
        return bytes(data), None
    return _form(data).encode(), "application/x-www-form-urlencoded"


def _form(values) -> str:
    """Names and values as in a query; a value that is a list comes as often as it has elements."""
    pairs = []
    for name, value in values.items() if isinstance(values, Mapping) else values:
        each = value if isinstance(value, (list, tuple)) else [value]
        pairs += [f"{_quoted(name)}={_quoted(one)}" for one in each if one is not None]
    return "&".join(pairs)


def _quoted(value) -> str:
    return "".join(chr(byte) if byte in _UNQUOTED else f"%{byte:02X}" for byte in _value(value))
