"""A store in memory, for tests without a server."""

from ferrite.testing._store import Request, Store

__all__ = ["Request", "Store"]
