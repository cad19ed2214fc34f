"""What a call from a language costs at least, with two commands, and with some work."""

import json as codec

import ferrite


@ferrite.function
def nothing() -> int:
    return 1


@ferrite.function
def get_set(key: str, value: str) -> str | None:
    before = ferrite.get(key)
    ferrite.set(key, value)
    return before


@ferrite.function
def json(document: str) -> str:
    """Reads a document, changes each of its orders, and replies it as text."""
    read = codec.loads(document)
    for order in read["orders"]:
        order["total"] = order["price"] * order["count"]
    return codec.dumps(read, separators=(",", ":"))
