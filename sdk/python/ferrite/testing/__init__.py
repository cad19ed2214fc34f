"""A store in memory, for tests without a server."""

from ferrite.testing._store import Store

__all__ = ["Store"]
