// The usual calls of ioredis: `node ioredis.mjs PORT`, with its node_modules beside the file that
// FERRITE_NODE_CLIENTS names. Any difference ends it with an error.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { join } from "node:path";

const require = createRequire(join(process.env.FERRITE_NODE_CLIENTS, "package.json"));
const { Redis } = require("ioredis");

const ADD1 = `(module (func (export "run") (param i32) (result i32)
  local.get 0 i32.const 1 i32.add))`;

const client = new Redis({ port: Number(process.argv[2]), db: 4 });
await client.flushdb();
assert.equal(await client.ping(), "PONG");
assert.equal(await client.set("k", "v", "EX", 100, "NX"), "OK");
assert.equal(await client.set("k", "w", "NX"), null);
assert.equal(await client.get("k"), "v");
const bytes = Buffer.from(Array.from({ length: 256 }, (_, at) => at));
await client.set("bytes", bytes);
assert.deepEqual(await client.getBuffer("bytes"), bytes);
assert.equal(await client.hset("h", { x: 1, y: 2 }), 2);
assert.deepEqual(await client.hgetall("h"), { x: "1", y: "2" });
assert.equal(await client.rpush("l", 1, 2, 3), 3);
assert.deepEqual(await client.blpop("nothing", "l", 1), ["l", "1"]);
assert.equal(await client.zadd("z", 1, "one", 2.5, "two"), 2);
assert.deepEqual(await client.zrange("z", 0, -1, "WITHSCORES"), ["one", "1", "two", "2.5"]);
assert.deepEqual((await client.sadd("s", "x", "y")) && (await client.smembers("s")).sort(), ["x", "y"]);
await assert.rejects(client.incr("l"), /wrong kind of value/);
const found = [];
for await (const keys of client.scanStream({ count: 2 })) {
  found.push(...keys);
}
assert.deepEqual(found.sort(), ["bytes", "h", "k", "l", "s", "z"]);

const pipeline = client.pipeline();
for (let number = 0; number < 1000; number += 1) {
  pipeline.set(`p:${number}`, number).get(`p:${number}`);
}
const replies = await pipeline.exec();
assert.equal(replies.length, 2000);
replies.forEach(([error, reply], at) => {
  assert.equal(error, null);
  assert.equal(reply, at % 2 === 0 ? "OK" : String((at - 1) / 2));
});

assert.deepEqual(await client.multi().set("n", 1).incr("n").exec(), [
  [null, "OK"],
  [null, 2],
]);
const other = client.duplicate();
await client.watch("n");
await other.set("n", 7);
assert.equal(await client.multi().set("n", 99).exec(), null);
assert.equal(await other.get("n"), "7");
await other.quit();

assert.match(await client.call("WASM.DEFINE", "add1", ADD1, "REPLACE"), /^blake3:/);
assert.equal(await client.fcall("add1", 0, 41), 42);
assert.equal(await client.call("WASM.CALL", "add1", "ARGS", 1), 2);
await client.quit();
console.log("ok");
