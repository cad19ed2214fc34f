// The tables that all SDKs are tested with: how numbers are read, and what the mock's commands reply.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { Store } from "../mock/store.mjs";
import { float, integer } from "../mock/values.mjs";
import { compile } from "./compile.mjs";

const wasm = await compile(new URL("functions/every.ts", import.meta.url));
const table = (name) => JSON.parse(readFileSync(new URL(`../../${name}`, import.meta.url), "utf8"));

/** What `read` makes of a text: its result, or null if it refuses it. */
function read(read, text) {
  try {
    return read(text);
  } catch {
    return null;
  }
}

const number = (text) => (/inf/.test(text) ? (text[0] === "-" ? -Infinity : Infinity) : Number(text));

test("numbers are read as in every SDK", () => {
  const cases = table("number-cases.json");
  assert.ok(cases.integer.length > 30 && cases.unsigned.length > 10 && cases.float.length > 90);
  const module = new Store().load(wasm);
  const called = (name, text) => {
    const reply = module.call(name, [], [text]);
    return reply?.error ? null : reply;
  };
  for (const [text, expected] of cases.integer) {
    const reply = called("integer", text);
    assert.equal(reply === null ? null : String(reply), expected && String(BigInt(expected)), text);
  }
  for (const [text, expected] of cases.unsigned) {
    const reply = called("unsigned", text);
    assert.equal(reply === null ? null : String(reply), expected, text);
  }
  for (const [text, expected] of cases.float) {
    const value = expected === null ? null : number(expected);
    assert.ok(Object.is(called("float", text), value), `${text}: ${called("float", text)}`);
    assert.ok(Object.is(read(float, text), value), text);
  }
  for (const [text, expected] of cases.stored_integer) {
    assert.equal(read(integer, text), expected && BigInt(expected), text);
  }
});

test("single floats are rounded once", () => {
  const module = new Store().load(wasm);
  // Half way between two singles as a double, but not as it is written.
  for (const [text, expected] of [["1.00000005960464477540", 1.0000001192092896], ["0.1", Math.fround(0.1)]]) {
    assert.equal(module.call("single", [], [text]), expected, text);
  }
  assert.match(module.call("single", [], ["1e39"]).error, /must be a number/);
});

for (const [group, cases] of Object.entries(table("command-cases.json"))) {
  test(`the mock's commands on ${group} reply as Valkey's`, () => {
    const store = new Store();
    for (const [argv, expected] of cases) {
      let reply = store.command(...argv);
      if (expected?.any_order) {
        if (argv[0] === "HGETALL") reply = reply.flatMap((_, i) => (i % 2 ? [] : [[reply[i], reply[i + 1]]]));
        assert.deepEqual(reply.sort(), expected.any_order, argv.join(" "));
      } else {
        assert.deepEqual(reply, expected, argv.join(" "));
      }
    }
  });
}
