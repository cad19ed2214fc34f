// The table of cases for the examples of every language, run on the mock.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { Store } from "../mock/store.mjs";
import { compile } from "./compile.mjs";

const repository = new URL("../../../", import.meta.url);
const wasm = await compile(new URL("examples/assemblyscript/assembly/index.ts", repository));
const functions = WebAssembly.Module.exports(new WebAssembly.Module(wasm)).map(({ name }) => name);
const table = readTable(readFileSync(new URL("examples/cases/cases.json", repository), "utf8"));

/** Reads the table. Integers that a number cannot hold become bigints, as in the mock's replies. */
function readTable(text) {
  const marked = text.replace(/([[:,]\s*)(-?[0-9]{16,})(?=\s*[,\]}])/g, '$1{"integer": "$2"}');
  return JSON.parse(marked, (_, value) => (value?.integer ? BigInt(value.integer) : value));
}

function bytes(value) {
  return typeof value === "string" ? value : Buffer.from(value.hex, "hex");
}

/** Checks that a reply is the one that the table expects. */
function check(reply, expected) {
  if (expected?.error_with) {
    assert.ok(reply?.error?.startsWith(expected.error_with[0]), JSON.stringify(reply));
    for (const part of expected.error_with) assert.ok(reply.error.includes(part), reply.error);
  } else if (expected?.between) {
    const [least, most] = expected.between;
    assert.ok(reply >= least && reply <= most, String(reply));
  } else if (expected?.map && !Array.isArray(expected)) {
    assert.deepEqual(reply, new Map(expected.map));
    assert.deepEqual([...reply.keys()], expected.map.map(([key]) => key));
  } else {
    assert.deepEqual(reply, expected);
  }
}

for (const { name, function: called, seed = [], calls, then = [] } of table) {
  if (!functions.includes(called)) continue;
  test(`${called}: ${name}`, () => {
    const store = new Store();
    const module = store.load(wasm);
    for (const command of seed) assert.ok(!store.command(...command)?.error);
    for (const { keys, args, reply } of calls) {
      check(module.call(called, keys.map(bytes), args.map(bytes)), reply);
    }
    for (const { command, reply } of then) check(store.command(...command), reply);
  });
}
