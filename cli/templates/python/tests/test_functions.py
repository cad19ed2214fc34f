from ferrite.testing import Store

from functions import rate_limit


def test_the_window_counts():
    store = Store()
    assert store.call(rate_limit, "api:1", 1, 60) is True
    assert store.call(rate_limit, "api:1", 1, 60) is False
    store.advance(60_000)
    assert store.call(rate_limit, "api:1", 1, 60) is True
