"""Requests to other servers, requests after the commit, and the configuration."""

import pytest

import ferrite
from ferrite.testing import Request, Store

URL = "https://example.com/a"


@ferrite.function
def ask(url: str, timeout: float | None = None):
    response = ferrite.http.get(
        url, {"q": ["a b", "ü"], "none": None}, headers={"Accept": "text/plain"}, timeout=timeout
    )
    return [response.status_code, response.ok, response.text, response.headers.get("X-Kind"), response.url]


@ferrite.function
def tell(url: str, how: str):
    ferrite.set("told", how)
    body = {"json": {"json": {"a": 1}}, "form": {"data": {"a": "1&2"}}, "raw": {"data": b"\xff"}}[how]
    return ferrite.after_commit("post", url, headers={"authorization": ferrite.config("token")}, **body)


@ferrite.function
def tell_and_fail(url: str):
    ferrite.after_commit("POST", url)
    raise RuntimeError("after all")


@ferrite.function
def own_key(url: str):
    return ferrite.after_commit("PUT", url, headers={"Idempotency-Key": "order 7"})


@ferrite.function
def strict(url: str):
    ferrite.http.delete(url).raise_for_status()
    return ferrite.http.post(url, json=[1]).json()


@pytest.fixture
def store():
    store = Store()
    store.config["token"] = "t"
    return store


def test_a_response_is_read(store):
    url = f"{URL}?q=a%20b&q=%C3%BC"
    store.respond("GET", url, 203, "grüße".encode() + b"\xff", {"x-kind": "plain"})
    assert store.call(ask, URL, 1.5) == [203, True, "grüße\ufffd", "plain", url]
    assert store.requests == [Request("GET", url, {"Accept": "text/plain"}, b"")]


def test_a_request_without_a_response_is_an_error(store):
    with pytest.raises(ferrite.Error) as refused:
        store.call(ask, URL)
    assert refused.value.code == "CONNECT"
    with pytest.raises(ValueError, match="a timeout is a number of seconds above 0"):
        store.call(ask, URL, -1)


def test_a_bad_status_is_an_error_if_that_is_asked_for(store):
    store.respond("DELETE", URL, 404)
    with pytest.raises(ferrite.Error, match="answered with the status 404"):
        store.call(strict, URL)
    store.respond("DELETE", URL, 204)
    store.respond("POST", URL, body='{"b": 2}')
    assert store.call(strict, URL) == {"b": 2}
    assert store.requests[-1] == Request("POST", URL, {"content-type": "application/json"}, b"[1]")


def test_requests_after_the_commit_are_kept_with_it(store):
    kinds = {"json": "application/json", "form": "application/x-www-form-urlencoded", "raw": None}
    bodies = {"json": b'{"a": 1}', "form": b"a=1%262", "raw": b"\xff"}
    for number, (how, kind) in enumerate(kinds.items(), 1):
        assert store.call(tell, URL, how) == f"00000000-0000-4000-8000-{number:012}"
        headers = {"authorization": "t"} | ({"content-type": kind} if kind else {})
        assert store.after_commit[-1] == Request("POST", URL, headers, bodies[how])
    with pytest.raises(RuntimeError):
        store.call(tell_and_fail, URL)
    assert len(store.after_commit) == 3
    assert store.call(own_key, URL) == "order 7"
    assert store.requests == []


def test_headers_are_found_in_any_case():
    headers = ferrite.http.Headers([("Set-Cookie", "a=1"), ("set-cookie", "b=2"), ("x", "1")])
    assert headers["SET-COOKIE"] == "a=1, b=2"
    assert headers.get_all("set-cookie") == ["a=1", "b=2"]
    assert list(headers) == ["set-cookie", "x"] and len(headers) == 2
    assert headers.get("none") is None
