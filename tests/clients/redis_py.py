"""The usual calls of redis-py: `python redis_py.py PORT`. Any difference ends it with an error."""

import sys

import redis

PORT = int(sys.argv[1])

ADD1 = """(module (func (export "run") (param i32) (result i32)
  local.get 0 i32.const 1 i32.add))"""


# Deletes its key if that holds the argument.
UNLOCK = """(module
  (import "ferrite" "key" (func $key (param i32 i32 i32) (result i32)))
  (import "ferrite" "arg" (func $arg (param i32 i32 i32) (result i32)))
  (import "ferrite" "get" (func $get (param i32 i32 i32 i32) (result i32)))
  (import "ferrite" "del" (func $del (param i32 i32) (result i32)))
  (import "ferrite" "reply_int" (func $reply_int (param i64)))
  (memory (export "memory") 1)
  (func (export "run") (local $key i32) (local $len i32) (local $at i32)
    (local.set $key (call $key (i32.const 0) (i32.const 64) (i32.const 256)))
    (local.set $len (call $arg (i32.const 0) (i32.const 512) (i32.const 256)))
    (if (i32.ne (local.get $len)
          (call $get (i32.const 64) (local.get $key) (i32.const 1024) (i32.const 256)))
      (then (call $reply_int (i64.const 0)) (return)))
    (block $same
      (loop $next
        (br_if $same (i32.eq (local.get $at) (local.get $len)))
        (if (i32.ne (i32.load8_u offset=512 (local.get $at))
              (i32.load8_u offset=1024 (local.get $at)))
          (then (call $reply_int (i64.const 0)) (return)))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (br $next)))
    (i32.store (i32.const 0) (i32.const 64))
    (i32.store (i32.const 4) (local.get $key))
    (call $reply_int (i64.extend_i32_s (call $del (i32.const 0) (i32.const 1))))))"""


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
    # A pipeline is a transaction unless it is told otherwise.
    for pipeline in client.pipeline(transaction=False), client.pipeline():
        for number in range(100):
            pipeline.fcall("add1", 0, number)
        equal(pipeline.execute(), list(range(1, 101)))
    pipeline = client.pipeline()
    pipeline.set("n", 1).fcall("add1", 0, "x").incr("n")
    try:
        pipeline.execute()
    except redis.ResponseError as error:
        assert "FCALL add1" in str(error), error
    else:
        raise AssertionError("a call failed, and nobody was told")
    equal(client.get("n"), b"2")


class FunctionLock(redis.lock.Lock):
    """A lock that is released by a function, where redis-py runs a script in Lua."""

    def do_release(self, expected_token):
        if self.redis.fcall("unlock", 1, self.name, expected_token) != 1:
            raise redis.exceptions.LockNotOwnedError("the lock is not ours any more")


def libraries_and_locks(client):
    head = '#!wasm name=unlock\n{"permissions": {"allow_write": true}}\n'
    equal(text(client.function_load(head + UNLOCK, replace=True)), "unlock")
    names = [fields(library)["library_name"] for library in client.function_list("unlock")]
    equal(names, ["unlock"])
    with client.lock("lock", timeout=10, lock_class=FunctionLock):
        assert client.lock("lock", blocking=False, lock_class=FunctionLock).acquire() is False
        assert client.get("lock")
    equal(client.get("lock"), None)
    lost = client.lock("lock", timeout=10, lock_class=FunctionLock)
    assert lost.acquire()
    client.set("lock", "another's")
    try:
        lost.release()
    except redis.exceptions.LockError:
        pass
    else:
        raise AssertionError("somebody else's lock was released")
    equal(client.get("lock"), b"another's")
    equal(client.function_delete("unlock"), True)


def text(value):
    return value.decode() if isinstance(value, bytes) else value


def fields(value):
    """A map, which RESP2 gives as a list."""
    if isinstance(value, list):
        value = dict(zip(value[::2], value[1::2]))
    return {text(name): text(item) for name, item in value.items()}


def operators(client):
    """What the library's own tests and administrators ask for."""
    info = client.info("everything")
    for name in "run_id tcp_port cluster_enabled blocked_clients keyspace_hits used_memory_human maxmemory".split():
        assert name in info, name
    equal(info["cluster_enabled"], 0)
    assert client.info("commandstats")["cmdstat_get"]["calls"] > 0
    equal(client.config_set("slowlog-max-len", 64), True)
    equal(client.config_get("slowlog-max-len"), {"slowlog-max-len": "64"})
    equal(client.config_resetstat(), True)
    assert client.slowlog_get() == [] or client.slowlog_len() > 0
    assert client.time()[0] > 1_700_000_000
    equal(text(client.role()[0]), "master")
    client.set("k", "v")
    assert client.memory_usage("k") > 0
    assert client.memory_stats()
    assert client.lastsave()
    equal(client.acl_setuser("app", enabled=True, nopass=True, keys=["app:*"], commands=["+get"]), True)
    assert "app" in map(text, client.acl_users())
    equal(fields(client.acl_getuser("app"))["enabled"], True)
    equal(client.acl_dryrun("app", "get", "app:1"), b"OK")
    assert b"other" in client.acl_dryrun("app", "get", "other")
    equal(client.acl_deluser("app"), 1)
    equal(text(client.acl_whoami()), "default")
    assert client.acl_log() == []
    assert client.latency_latest() == [] or client.latency_latest()
    assert client.command_count() > 100
    equal(list(map(text, client.command_getkeys("MSET", "a", 1, "b", 2))), ["a", "b"])
    assert client.client_list() and client.client_info()


for protocol in (2, 3):
    client = redis.Redis(port=PORT, protocol=protocol, db=protocol)
    try:
        usual_calls(client)
        pipelines(client)
        transactions(client)
        functions(client)
        libraries_and_locks(client)
        operators(client)
    finally:
        client.close()
print("ok")
