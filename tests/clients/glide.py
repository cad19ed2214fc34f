"""Uses a server through Valkey GLIDE, as applications do; the argument is the server's port. Any
difference ends it with an error."""

import sys

from glide_sync import (
    Batch,
    ExpirySet,
    ExpiryType,
    GlideClient,
    GlideClientConfiguration,
    InfoSection,
    NodeAddress,
    ProtocolVersion,
    RequestError,
)

PORT = int(sys.argv[1])

# A scalar: adds one.
ADD1 = """(module
  (func (export "run") (param i32) (result i32)
    local.get 0 i32.const 1 i32.add))"""


def equal(found, expected):
    assert found == expected, f"{found!r} is not {expected!r}"


def refused(part, run):
    try:
        run()
    except RequestError as error:
        assert part in str(error), error
    else:
        raise AssertionError(f"nothing about {part!r} was said")


def usual_calls(client):
    equal(client.flushdb(), "OK")
    equal(client.ping(), b"PONG")
    equal(client.set("k", b"v\r\n\0", expiry=ExpirySet(ExpiryType.SEC, 100)), "OK")
    equal(client.get("k"), b"v\r\n\0")
    assert 0 < client.ttl("k") <= 100
    equal(client.get("nothing"), None)
    equal(client.mset({"a": "1", "b": "2"}), "OK")
    equal(client.mget(["a", "b", "c"]), [b"1", b"2", None])
    equal(client.incrby("a", 41), 42)
    equal(client.hset("h", {"x": "1", "y": "2"}), 2)
    equal(client.hgetall("h"), {b"x": b"1", b"y": b"2"})
    equal(client.rpush("l", ["1", "2", "3"]), 3)
    equal(client.blpop(["nothing", "l"], 1), [b"l", b"1"])
    equal(client.sadd("s", ["x", "y"]), 2)
    equal(client.smembers("s"), {b"x", b"y"})
    equal(client.zadd("z", {"one": 1.0, "two": 2.5}), 2)
    equal(client.zscore("z", "two"), 2.5)
    equal(client.type("z"), b"zset")
    keys, cursor = [], b"0"
    while True:
        cursor, found = client.scan(cursor, count=2)
        keys += found
        if cursor == b"0":
            break
    equal(sorted(set(keys)), [b"a", b"b", b"h", b"k", b"l", b"s", b"z"])
    equal(client.dbsize(), 7)
    assert b"used_memory" in client.info([InfoSection.MEMORY])
    equal(client.config_get(["maxclients"]).keys(), {b"maxclients"})
    refused("wrong kind of value", lambda: client.incr("l"))
    refused("unknown command", lambda: client.custom_command(["NOSUCH", "x"]))


def batches(client):
    pipeline = Batch(is_atomic=False)
    for number in range(1000):
        pipeline.set(f"p:{number}", str(number))
        pipeline.get(f"p:{number}")
    replies = client.exec(pipeline, raise_on_error=True)
    equal(replies[1::2], [str(number).encode() for number in range(1000)])
    transaction = Batch(is_atomic=True)
    transaction.set("n", "1").incr("n").custom_command(["FCALL", "add1", "0", "41"]).lpop("n")
    replies = client.exec(transaction, raise_on_error=False)
    equal(replies[:3], ["OK", 2, 42])
    assert isinstance(replies[3], RequestError) and "wrong kind of value" in str(replies[3]), replies
    equal(client.get("n"), b"2")


def functions(client):
    digest = client.custom_command(["WASM.DEFINE", "add1", ADD1, "REPLACE"])
    assert digest.startswith(b"blake3:"), digest
    equal(client.fcall("add1", arguments=["41"]), 42)
    equal(client.custom_command(["WASM.CALL", "add1", "ARGS", "1"]), 2)
    refused("no function", lambda: client.fcall("nosuch"))


for protocol in (ProtocolVersion.RESP2, ProtocolVersion.RESP3):
    configuration = GlideClientConfiguration(
        [NodeAddress("127.0.0.1", PORT)], protocol=protocol, request_timeout=60_000
    )
    client = GlideClient.create(configuration)
    try:
        usual_calls(client)
        functions(client)
        batches(client)
    finally:
        client.close()
print("ok")
