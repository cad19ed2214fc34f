"""Counts visits, by `wasi:keyvalue` alone."""

import wit_world
from wit_world.imports import atomics, batch, store
from wit_world.imports.types import Input, Item, Item_Array, Item_Bulk, Item_Integer, Item_Null


class WitWorld(wit_world.WitWorld):
    def visits(self, input: Input) -> list[Item]:
        """Replies the number of visits of ARGS[0], and what is kept of the last one and of nobody."""
        name = input.args[0].decode()
        with store.open("visits") as bucket:
            number = atomics.increment(bucket, name, 1)
            bucket.set(f"{name}:last", str(number).encode())
            found = batch.get_many(bucket, [f"{name}:last", "nobody"])
        values = [Item_Null() if value is None else Item_Bulk(value) for _, value in found]
        return [Item_Array(1 + len(values)), Item_Integer(number), *values]
