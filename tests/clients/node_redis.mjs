// The usual calls of node-redis: `node node_redis.mjs PORT`, with its node_modules beside the file
// that FERRITE_NODE_CLIENTS names. Any difference ends it with an error.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { join } from "node:path";

const require = createRequire(join(process.env.FERRITE_NODE_CLIENTS, "package.json"));
const { createClient, WatchError } = require("redis");

const ADD1 = `(module (func (export "run") (param i32) (result i32)
  local.get 0 i32.const 1 i32.add))`;

for (const RESP of [2, 3]) {
  const client = createClient({
    socket: { port: Number(process.argv[2]), host: "127.0.0.1" },
    database: 4 + RESP,
    RESP,
  });
  client.on("error", (error) => {
    throw error;
  });
  await client.connect();
  await client.flushDb();
  assert.equal(await client.ping(), "PONG");
  assert.equal(await client.set("k", "v", { EX: 100, NX: true }), "OK");
  assert.equal(await client.get("k"), "v");
  assert.equal(await client.get("nothing"), null);
  assert.equal(await client.hSet("h", { x: "1", y: "2" }), 2);
  assert.deepEqual({ ...(await client.hGetAll("h")) }, { x: "1", y: "2" });
  assert.equal(await client.rPush("l", ["1", "2", "3"]), 3);
  assert.deepEqual({ ...(await client.blPop(["nothing", "l"], 1)) }, { key: "l", element: "1" });
  assert.equal(
    await client.zAdd("z", [
      { score: 1, value: "one" },
      { score: 2.5, value: "two" },
    ]),
    2,
  );
  assert.equal(await client.zScore("z", "two"), 2.5);
  await assert.rejects(client.incr("l"), /wrong kind of value/);
  const found = [];
  for await (const keys of client.scanIterator({ COUNT: 2 })) {
    found.push(...[keys].flat());
  }
  assert.deepEqual(found.sort(), ["h", "k", "l", "z"]);

  // Requests of one turn go out together: that is its pipeline.
  const numbers = Array.from({ length: 1000 }, (_, number) => number);
  await Promise.all(numbers.map((number) => client.set(`p:${number}`, String(number))));
  const replies = await Promise.all(numbers.map((number) => client.get(`p:${number}`)));
  assert.deepEqual(replies, numbers.map(String));

  assert.deepEqual(await client.multi().set("n", "1").incr("n").exec(), ["OK", 2]);
  const other = client.duplicate();
  other.on("error", (error) => {
    throw error;
  });
  await other.connect();
  await client.watch("n");
  await other.set("n", "7");
  await assert.rejects(client.multi().set("n", "99").exec(), WatchError);
  assert.equal(await other.get("n"), "7");
  await other.close();

  assert.match(await client.sendCommand(["WASM.DEFINE", "add1", ADD1, "REPLACE"]), /^blake3:/);
  assert.equal(await client.sendCommand(["FCALL", "add1", "0", "41"]), 42);
  assert.equal(await client.sendCommand(["WASM.CALL", "add1", "ARGS", "1"]), 2);
  await client.close();
}
console.log("ok");
