// The mock's data and the commands on it. Strings hold one byte a character.
//
// A reply is null, a bigint, a string, an array, { simple } or { error }.

import { matches } from "./glob.mjs";

const WRONG_TYPE = "WRONGTYPE Operation against a key holding the wrong kind of value";
const NOT_AN_INTEGER = "ERR value is not an integer or out of range";
const OK = { simple: "OK" };

class CommandError extends Error {}

function fail(text) {
  throw new CommandError(text);
}

function integer(text) {
  if (!/^(0|-?[1-9][0-9]*)$/.test(text)) fail(NOT_AN_INTEGER);
  const number = BigInt(text);
  if (BigInt.asIntN(64, number) !== number) fail(NOT_AN_INTEGER);
  return number;
}

function sum(left, right) {
  const total = left + right;
  if (BigInt.asIntN(64, total) !== total) fail("ERR increment or decrement would overflow");
  return total;
}

const flag = (truth) => (truth ? 1n : 0n);

/** Typed values by key, with expiry. */
export class Keyspace {
  constructor(now) {
    this.now = now;
    this.items = new Map();
  }

  /** A copy, to restore if a call is undone. */
  copy() {
    const copy = new Keyspace(this.now);
    for (const [key, { value, expiresAt }] of this.items) {
      copy.items.set(key, { value: typeof value === "string" ? value : new Map(value), expiresAt });
    }
    return copy;
  }

  /** Runs a command. */
  run(argv) {
    const [name, ...args] = argv;
    const command = COMMANDS[name.toUpperCase()];
    if (!command) return { error: `ERR the mock store does not know '${name}'; test this with \`ferrite-wasmc run\`` };
    try {
      return command(this, ...args);
    } catch (error) {
      if (error instanceof CommandError) return { error: error.message };
      throw error;
    }
  }

  item(key) {
    const item = this.items.get(key);
    if (item && item.expiresAt <= this.now) {
      this.items.delete(key);
      return undefined;
    }
    return item;
  }

  string(key) {
    const value = this.item(key)?.value;
    if (value instanceof Map) fail(WRONG_TYPE);
    return value ?? null;
  }

  hash(key) {
    const value = this.item(key)?.value;
    if (typeof value === "string") fail(WRONG_TYPE);
    return value ?? new Map();
  }

  edit(key, change) {
    const hash = this.hash(key);
    const result = change(hash);
    if (hash.size === 0) this.items.delete(key);
    else if (!this.items.has(key)) this.items.set(key, { value: hash, expiresAt: Infinity });
    return result;
  }

  write(key, value) {
    this.items.set(key, { value, expiresAt: this.item(key)?.expiresAt ?? Infinity });
  }

  expire(key, millis) {
    const item = this.item(key);
    if (item && millis <= 0) this.items.delete(key);
    else if (item) item.expiresAt = this.now + millis;
    return flag(item);
  }

  ttl(key) {
    const item = this.item(key);
    if (!item) return -2;
    return item.expiresAt === Infinity ? -1 : item.expiresAt - this.now;
  }

  keys(pattern) {
    return [...this.items.keys()].filter((key) => this.item(key) && matches(pattern, key)).sort();
  }
}

function set(store, key, value, ...options) {
  const item = store.item(key);
  let expiresAt = Infinity;
  while (options.length > 0) {
    const option = options.shift().toUpperCase();
    if (option === "NX" && item) return null;
    if (option === "XX" && !item) return null;
    if (option === "KEEPTTL") expiresAt = item?.expiresAt ?? Infinity;
    if (option === "PX" || option === "EX") {
      const millis = Number(integer(options.shift())) * (option === "EX" ? 1000 : 1);
      if (millis <= 0) fail("ERR invalid expire time in 'set' command");
      expiresAt = store.now + millis;
    }
  }
  store.items.set(key, { value, expiresAt });
  return OK;
}

const COMMANDS = {
  GET: (store, key) => store.string(key),
  SET: set,
  DEL: (store, ...keys) => BigInt(keys.filter((key) => store.item(key) && store.items.delete(key)).length),
  EXISTS: (store, ...keys) => BigInt(keys.filter((key) => store.item(key)).length),
  INCR: (store, key) => COMMANDS.INCRBY(store, key, "1"),
  INCRBY: (store, key, delta) => {
    const total = sum(integer(store.string(key) ?? "0"), integer(delta));
    store.write(key, String(total));
    return total;
  },
  EXPIRE: (store, key, secs) => store.expire(key, Number(integer(secs)) * 1000),
  PEXPIRE: (store, key, millis) => store.expire(key, Number(integer(millis))),
  TTL: (store, key) => {
    const millis = store.ttl(key);
    return BigInt(millis < 0 ? millis : Math.round(millis / 1000));
  },
  PTTL: (store, key) => BigInt(store.ttl(key)),
  KEYS: (store, pattern) => store.keys(pattern),
  // All keys come in one page.
  SCAN: (store, _cursor, ...options) => {
    const match = options.findIndex((option) => option.toUpperCase() === "MATCH");
    return ["0", store.keys(match < 0 ? "*" : options[match + 1])];
  },
  HGET: (store, key, field) => store.hash(key).get(field) ?? null,
  HSET: (store, key, ...pairs) =>
    store.edit(key, (hash) => {
      const before = hash.size;
      for (let i = 0; i < pairs.length; i += 2) hash.set(pairs[i], pairs[i + 1]);
      return BigInt(hash.size - before);
    }),
  HDEL: (store, key, ...fields) =>
    store.edit(key, (hash) => BigInt(fields.filter((field) => hash.delete(field)).length)),
  HEXISTS: (store, key, field) => flag(store.hash(key).has(field)),
  HLEN: (store, key) => BigInt(store.hash(key).size),
  HGETALL: (store, key) => [...store.hash(key)].flat(),
  HINCRBY: (store, key, field, delta) =>
    store.edit(key, (hash) => {
      const total = sum(integer(hash.get(field) ?? "0"), integer(delta));
      hash.set(field, String(total));
      return total;
    }),
};
