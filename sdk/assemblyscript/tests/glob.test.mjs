// The mock's glob patterns, by the table that all SDKs and the server are tested with.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { matches } from "../mock/glob.mjs";

test("patterns match as in Valkey", () => {
  const cases = JSON.parse(readFileSync(new URL("../../glob-cases.json", import.meta.url), "utf8"));
  assert.ok(cases.length > 100);
  for (const [pattern, text, expected] of cases) {
    assert.equal(matches(pattern, text), expected, JSON.stringify([pattern, text]));
  }
});
