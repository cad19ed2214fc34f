import { bytes, call, del, exists, get, getBytes, hgetall, hset, incr, set, ReplyError } from "ferrite-wasm";

let calls = 0;

export function count() {
  return ++calls;
}

export function visit(keys) {
  set(keys[0], Number(get(keys[0]) ?? 0) + 1);
  return incr(keys[0], 10n);
}

export function half_done(keys) {
  set(keys[0], "written");
  null.missing;
}

export function refuse(keys) {
  set(keys[0], "kept");
  throw new ReplyError("NOUSER there is none");
}

export function caught(keys) {
  hset(keys[0], { a: 1, b: "two" });
  try {
    get(keys[0]);
  } catch (error) {
    return [error instanceof ReplyError, error.code, hgetall(keys[0])];
  }
}

export function values(keys, args) {
  return {
    none: null,
    yes: true,
    whole: -7,
    big: 9223372036854775807n,
    text: "é😀",
    raw: new Uint8Array([1, 2]),
    list: [1, [2, undefined]],
    map: new Map([["k", new Set([1])]]),
    day: new Date(0),
    args,
  };
}

export const copy = bytes((keys, args) => {
  set(keys[0], args[0]);
  const stored = getBytes(keys[0]);
  return [stored, exists(keys[0], keys[0]), del(keys[0])];
});

export async function later() {
  await null;
  return call("STRLEN", await Promise.resolve("nothing"));
}

export async function forgotten() {
  await new Promise(() => {});
}

export function forever() {
  for (;;);
}

export function hog() {
  const all = [];
  for (;;) all.push(new Uint8Array(1 << 20));
}

export function deep(keys, [kind]) {
  const kinds = {
    call: () => kinds.call() + 1,
    parse: () => JSON.parse("[".repeat(100000)),
    sort: () => [2, 1].sort(() => kinds.sort()),
    replace: () => "a".replace(/a/, () => kinds.replace()),
    generator: () => [...(function* again() { yield* again(); })()],
    getter: () => {
      const object = { get again() { return this.again; } };
      return object.again;
    },
    stringify: () => {
      let nested = [];
      for (let i = 0; i < 5000; i++) nested = [nested];
      return JSON.stringify(nested);
    },
    proxy: () => {
      let proxy = {};
      for (let i = 0; i < 5000; i++) proxy = new Proxy(proxy, {});
      return proxy.again;
    },
    flat: () => {
      let nested = [];
      for (let i = 0; i < 5000; i++) nested = [nested];
      return nested.flat(Infinity);
    },
    bound: () => {
      // Each has a name one word longer than the one before.
      let bound = () => 1;
      for (let i = 0; i < 800; i++) bound = bound.bind(null);
      return bound();
    },
  };
  try {
    return kinds[kind]();
  } catch (error) {
    return error.name;
  }
}
