"""The usual calls of redis-py: `python redis_py.py PORT`. Any difference ends it with an error."""

import sys

import redis

PORT = int(sys.argv[1])

ADD1 = """(module (func (export "run") (param i32) (result i32)
  local.get 0 i32.const 1 i32.add))"""


def equal(found, expected):
    assert found == expected, f"{found!r} is not {expected!r}"


def usual_calls(client):
    client.flushdb()
    equal(client.ping(), True)
    equal(client.set("k", "v", ex=100, nx=True), True)
    equal(client.set("k", "w", nx=True), None)
    equal(client.get("k"), b"v")
    assert 0 < client.ttl("k") <= 100
    equal(client.get("nothing"), None)
    equal(client.mset({"a": 1, "b": 2}), True)
    equal(client.mget("a", "b", "c"), [b"1", b"2", None])
    equal(client.incrby("a", 41), 42)
    equal(client.incrbyfloat("f", 0.5), 0.5)
    equal(client.append("k", bytes(range(256))), 257)
    equal(client.getrange("k", 1, -1), bytes(range(256)))
    equal(client.hset("h", mapping={"x": 1, "y": 2}), 2)
    equal(client.hgetall("h"), {b"x": b"1", b"y": b"2"})
    equal(client.hincrby("h", "x", 5), 6)
    equal(client.rpush("l", 1, 2, 3), 3)
    equal(client.lrange("l", 0, -1), [b"1", b"2", b"3"])
    equal(client.blpop(["nothing", "l"], timeout=1), popped(client, b"l", b"1"))
    equal(client.sadd("s", "x", "y"), 2)
    equal(client.smembers("s"), {b"x", b"y"})
    equal(client.sismember("s", "x"), 1)
    equal(client.zadd("z", {"one": 1, "two": 2.5}), 2)
    equal(client.zscore("z", "two"), 2.5)
    equal(list(map(tuple, client.zrange("z", 0, -1, withscores=True))), [(b"one", 1.0), (b"two", 2.5)])
    equal(client.zrangebyscore("z", 2, "+inf"), [b"two"])
    equal(client.expire("s", 10), True)
    equal(client.persist("s"), True)
    equal(client.type("z"), b"zset")
    equal(sorted(client.scan_iter(match="?", count=2)), [b"a", b"b", b"f", b"h", b"k", b"l", b"s", b"z"])
    equal(dict(client.hscan_iter("h")), {b"x": b"6", b"y": b"2"})
    equal(client.sort("l", desc=True), [b"3", b"2"])
    equal(client.delete("k", "nothing"), 1)
    equal(client.dbsize(), 7)
    equal(client.rename("a", "renamed"), True)
    equal(client.exists("renamed", "a"), 1)
    equal(client.setbit("bits", 7, 1), 0)
    equal(client.bitcount("bits"), 1)
    assert client.info()["redis_version"].startswith("7.")
    assert "get" in client.command()
    assert client.config_get("wasm.limits.max_memory")
    equal(client.client_setname("tests"), True)
    equal(client.client_getname().encode() if isinstance(client.client_getname(), str) else client.client_getname(), b"tests")
    try:
        client.incr("l")
    except redis.ResponseError as error:
        assert "wrong kind of value" in str(error), error
    else:
        raise AssertionError("a list was incremented")
    try:
        client.execute_command("NOSUCH", "x")
    except redis.ResponseError as error:
        assert "unknown command" in str(error), error
    else:
        raise AssertionError("an unknown command ran")


def popped(client, key, value):
    """What a blocking pop gives: a list in RESP3, a tuple in RESP2."""
    return [key, value] if client.get_connection_kwargs().get("protocol") in (3, "3") else (key, value)


def pipelines(client):
    pipeline = client.pipeline(transaction=False)
    for number in range(1000):
        pipeline.set(f"p:{number}", number)
        pipeline.get(f"p:{number}")
    replies = pipeline.execute()
    equal(replies[1::2], [str(number).encode() for number in range(1000)])


def transactions(client):
    client.set("balance", 10)
    with client.pipeline() as pipeline:
        pipeline.watch("balance")
        before = int(pipeline.get("balance"))
        pipeline.multi()
        pipeline.set("balance", before + 5)
        pipeline.incr("balance")
        equal(pipeline.execute(), [True, 16])
    with client.pipeline() as pipeline:
        pipeline.watch("balance")
        client.set("balance", 0)
        pipeline.multi()
        pipeline.set("balance", 99)
        try:
            pipeline.execute()
        except redis.WatchError:
            pass
        else:
            raise AssertionError("a watched key had changed")
    equal(client.get("balance"), b"0")

    def increment(pipeline):
        pipeline.multi()
        pipeline.incr("balance")

    equal(client.transaction(increment, "balance"), [1])


def functions(client):
    digest = client.execute_command("WASM.DEFINE", "add1", ADD1, "REPLACE")
    assert digest.startswith(b"blake3:"), digest
    equal(client.fcall("add1", 0, 41), 42)
    equal(client.fcall_ro("add1", 0, 1), 2)
    equal(client.execute_command("WASM.CALL", "add1", "ARGS", 1), 2)
    pipeline = client.pipeline(transaction=False)
    for number in range(100):
        pipeline.fcall("add1", 0, number)
    equal(pipeline.execute(), list(range(1, 101)))


for protocol in (2, 3):
    client = redis.Redis(port=PORT, protocol=protocol, db=protocol)
    try:
        usual_calls(client)
        pipelines(client)
        transactions(client)
        functions(client)
    finally:
        client.close()
print("ok")
