// The package's own tests, on its mock.

import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { pathToFileURL } from "node:url";

import { Store, Trap } from "../mock/store.mjs";
import { compile } from "./compile.mjs";

const wasm = await compile(new URL("functions/every.ts", import.meta.url));

function setup() {
  const store = new Store();
  return { store, module: store.load(wasm) };
}

/** Returns the compiler's messages about a source. */
async function complaint(source) {
  const folder = mkdtempSync(join(tmpdir(), "ferrite-as-"));
  try {
    const path = join(folder, "index.ts");
    writeFileSync(path, source);
    await compile(pathToFileURL(path));
    return "nothing";
  } catch (error) {
    return error.message;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

test("parameters are filled by their types and results replied by theirs", () => {
  const { module } = setup();
  const args = ["-128", "9223372036854775807", "0.5", "true", Buffer.from([0xff])];
  assert.deepEqual(module.call("types", ["key"], args), [
    "key",
    -128,
    9223372036854775807n,
    0.5,
    true,
    { bytes: Buffer.from([0xff]) },
  ]);
  args[1] = "18446744073709551615";
  assert.equal(module.call("types", ["key"], args)[2], "18446744073709551615");
  assert.deepEqual(module.call("rest", [], ["1", "-2"]), new Map([["n0", 1], ["n1", -2]]));
  assert.deepEqual(module.call("rest"), new Map());
  assert.deepEqual(module.call("nested"), [["a", "b"], [], ["ü"]]);
  assert.equal(module.call("maybe", [], ["a", "b"]), "a+b");
  assert.equal(module.call("maybe", [], ["a"]), null);
});

test("mistakes in the input name the parameter", () => {
  const { module } = setup();
  const error = (keys, args, name = "types") => module.call(name, keys, args).error;
  const signature = "types(text: string, small: i8, big: u64, ratio: f64, yes: bool, bytes: ArrayBuffer)";
  assert.equal(
    error(["k"], []),
    `ERR ${signature}: no value for 'small' (i8); got 1 key and 0 arguments`,
  );
  assert.equal(
    error(["k"], ["128", "1", "1", "1", ""]),
    `ERR types: 'small' (ARGS[1], i8) must be a 8-bit integer, not "128"`,
  );
  assert.match(error(["k"], ["1", "-1", "1", "1", ""]), /'big' \(ARGS\[2\], u64\) must be an unsigned 64-bit/);
  assert.match(error(["k"], ["1", "1", "x", "1", ""]), /'ratio' \(ARGS\[3\], f64\) must be a number, not "x"/);
  assert.match(error(["k"], ["1", "1", "1", "yes", ""]), /'yes' \(ARGS\[4\], bool\) must be 1, 0, true or false/);
  assert.match(error([], ["1", "2", "x"], "rest"), /'numbers' \(ARGS\[3\], i32\[\]\) must be a 32-bit integer/);
  assert.match(error(["k"], [], "nothing"), /nothing\(\): KEYS\[1\] is one too many; got 1 key and 0 arguments/);
});

test("every function of the store works", () => {
  const { module } = setup();
  assert.deepEqual(module.call("store", ["k"]), ["b"]);
});

test("a function that returns nothing replies OK, and logs", () => {
  const { store, module } = setup();
  assert.deepEqual(module.call("nothing"), { simple: "OK" });
  assert.deepEqual(store.log, [{ level: "warn", text: "nothing to do" }]);
});

test("what is thrown is logged with its place, and the call is undone", () => {
  const { store, module } = setup();
  assert.throws(() => module.call("thrown", [], ["on purpose"]), (error) => {
    assert.ok(error instanceof Trap);
    assert.match(error.message, /^panic: on purpose \(assembly\/every\.ts:\d+\)$/);
    return true;
  });
  assert.equal(store.command("GET", "written"), null);
  assert.throws(() => module.call("outside", [], ["3"]), /panic: Index out of range/);
});

test("the first error of the store is the reply, and nothing happens after it", () => {
  const { store, module } = setup();
  store.command("SET", "k", "no number");
  assert.deepEqual(module.call("afterwards", ["k"]), { error: "ERR value is not an integer or out of range" });
  assert.equal(store.command("GET", "later"), null);
  assert.equal(module.call("afterwards", ["n"]), 1);
  assert.equal(store.command("GET", "later"), "written");
});

test("JSON is read as RFC 8259 has it", () => {
  const { module } = setup();
  const read = (text) => module.call("json", [], [text]);
  assert.equal(read('{"name": "\\u00c9va \\"E\\"", "age": -1.5e1, "member": true}'), 'Éva "E" -15.0 true');
  assert.equal(read('{"name": 1}'), "no name");
  assert.equal(read("[1, [], {}, null, false, 0.5]"), "no name");
  for (const bad of ["", "{", "[1,]", '{"a" 1}', "01", "1.", "tru", '"\\x"', '"a', "1 2", "[".repeat(100)]) {
    assert.equal(read(bad), "no JSON", bad);
  }
});

test("the language's own library works", () => {
  const { store, module } = setup();
  assert.equal(module.call("library"), "2023-11-14T22:13:20.000Z");
  assert.deepEqual(
    store.log.map(({ level, text }) => `${level} ${text}`),
    [
      "info log",
      "debug debug",
      "info info",
      "warn warn",
      "error error",
      "error assertion failed: does not hold",
      "debug trace 1.0, 2.5",
    ],
  );
});

test("text is UTF-8, whatever a string holds", () => {
  const { store, module } = setup();
  assert.deepEqual(module.call("half", [], ["😀"]), Array(4).fill("\ufffd"));
  assert.equal(store.log[0].text, "\ufffd");
});

test("functions that cannot be called are explained", async () => {
  assert.match(await complaint("export const answer = 42;"), /exports no function/);
  assert.match(await complaint("export function memory(): void {}"), /memory is reserved for the toolchain/);
  assert.match(await complaint("export function f<T>(x: T): void {}"), /f cannot be generic/);
  assert.match(
    await complaint("class P {}\nexport function f(p: P): void {}"),
    /a parameter is a string, a number, bool, ArrayBuffer, Json, or an array of these/,
  );
});

test("a request is made and its response read", () => {
  const { store, module } = setup();
  store.respond("POST", "https://example.com/a", 201, "mäde".repeat(200));
  const [status, text, url, failure, ok] = module.call("request", [], ["https://example.com/a"]);
  assert.deepEqual([status, url, failure, ok], ["201", "https://example.com/a", "", "true"]);
  assert.equal(text, "mäde".repeat(200));
  assert.deepEqual(store.requests, [{ method: "POST", url: "https://example.com/a", body: "ü" }]);
  const none = module.call("request", [], ["https://example.com/none"]);
  assert.equal(none[0], "0");
  assert.match(none[3], /^CONNECT /);
});

test("a request is added to the call, and the configuration read", () => {
  const { store, module } = setup();
  const url = "https://example.com/a";
  assert.deepEqual(module.call("later", [], [url, ""]), ["00000000-0000-4000-8000-000000000001", "none"]);
  store.config.token = "ß".repeat(300);
  assert.deepEqual(module.call("later", [], [url, "order 7"]), ["order 7", "ß".repeat(300)]);
  assert.deepEqual(store.afterCommit, Array(2).fill({ method: "POST", url, body: "ü" }));
  assert.deepEqual(store.requests, []);
});

test("keys are gone through page by page", () => {
  const { store, module } = setup();
  assert.deepEqual(module.call("paged", [], ["user:*"]), ["end"]);
  const users = Array.from({ length: 1203 }, (_, number) => `user:${number}`);
  for (const user of users) store.command("SET", user, "x");
  store.command("SET", "other", "x");
  const found = module.call("paged", [], ["user:*"]);
  assert.equal(found.pop(), "end");
  assert.deepEqual(found.sort(), users.sort());
});

test("decorators declare triggers and schedules", async () => {
  const sections = WebAssembly.Module.customSections(new WebAssembly.Module(wasm), "ferrite.automation");
  assert.deepEqual(sections.map((bytes) => new TextDecoder().decode(bytes)), [
    'on paged KEYS user:* "a b" EVENTS set del BEFORE\ncron paged "0 3 * * *" MISSED once KEYS k ARGS x "ARGS"\n',
  ]);
  const mistake = async (decorator) => complaint(`// @ts-ignore\n${decorator}\nexport function f(): void {}`);
  assert.match(await mistake("@on"), /@on of f: write @on\("session:\*", "expired"\)/);
  assert.match(await mistake('@on("a", "set", "never")'), /"before" or "after"/);
  assert.match(await mistake("@every(5)"), /write texts in quotes/);
  assert.match(await mistake("@cron"), /write @cron\("0 3 \* \* \*"\)/);
  assert.match(await mistake('@every("5m", "k", "a", "twice")'), /"skip" or "once"/);
});
