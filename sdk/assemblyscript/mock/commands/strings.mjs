// Commands on strings.

import { fail, flag, float, floatText, integer, OK, range, sum, syntaxError, wrongCount } from "../values.mjs";

function set(store, key, value, ...options) {
  const item = store.item(key);
  const given = {};
  while (options.length > 0) {
    const option = options.shift().toUpperCase();
    if (!["NX", "XX", "GET", "KEEPTTL", "EX", "PX"].includes(option)) syntaxError();
    const timed = option === "EX" || option === "PX";
    if (timed && options.length === 0) syntaxError();
    given[option] = timed ? options.shift() : true;
  }
  if ([given.NX, given.XX].filter(Boolean).length > 1) syntaxError();
  if ([given.KEEPTTL, given.EX, given.PX].filter((it) => it !== undefined).length > 1) syntaxError();
  let expiresAt = given.KEEPTTL && item ? item.expiresAt : Infinity;
  if (given.EX !== undefined) expiresAt = expiry(store, given.EX, 1000, "set");
  if (given.PX !== undefined) expiresAt = expiry(store, given.PX, 1, "set");
  const old = given.GET ? store.string(key) : null;
  const refused = (given.NX && item) || (given.XX && !item);
  if (!refused) store.items.set(key, { value, expiresAt });
  if (given.GET) return old;
  return refused ? null : OK;
}

function expiry(store, text, unit, command) {
  const millis = Number(integer(text)) * unit;
  if (millis <= 0) fail(`ERR invalid expire time in '${command}' command`);
  return store.now + millis;
}

function setFor(command, unit) {
  return (store, key, time, value) => {
    store.items.set(key, { value, expiresAt: expiry(store, time, unit, command) });
    return OK;
  };
}

function add(store, key, delta) {
  const total = sum(integer(store.string(key) ?? "0"), delta);
  store.write(key, String(total));
  return total;
}

export const strings = {
  GET: [1, 1, (store, key) => store.string(key)],
  SET: [2, Infinity, set],
  SETNX: [2, 2, (store, key, value) => flag(set(store, key, value, "NX") !== null)],
  SETEX: [3, 3, setFor("setex", 1000)],
  PSETEX: [3, 3, setFor("psetex", 1)],
  GETSET: [2, 2, (store, key, value) => set(store, key, value, "GET")],
  GETDEL: [
    1,
    1,
    (store, key) => {
      const value = store.string(key);
      if (value !== null) store.items.delete(key);
      return value;
    },
  ],
  MGET: [
    1,
    Infinity,
    (store, ...keys) => keys.map((key) => (store.type(key) === "string" ? store.string(key) : null)),
  ],
  MSET: [
    2,
    Infinity,
    (store, ...pairs) => {
      if (pairs.length % 2 !== 0) wrongCount("MSET");
      for (let i = 0; i < pairs.length; i += 2) store.replace(pairs[i], pairs[i + 1]);
      return OK;
    },
  ],
  INCR: [1, 1, (store, key) => add(store, key, 1n)],
  DECR: [1, 1, (store, key) => add(store, key, -1n)],
  INCRBY: [2, 2, (store, key, delta) => add(store, key, integer(delta))],
  DECRBY: [2, 2, (store, key, delta) => add(store, key, -integer(delta))],
  INCRBYFLOAT: [
    2,
    2,
    (store, key, delta) => {
      const total = floatText(float(store.string(key) ?? "0") + float(delta));
      store.write(key, total);
      return total;
    },
  ],
  APPEND: [
    2,
    2,
    (store, key, more) => {
      const value = (store.string(key) ?? "") + more;
      store.write(key, value);
      return BigInt(value.length);
    },
  ],
  STRLEN: [1, 1, (store, key) => BigInt((store.string(key) ?? "").length)],
  GETRANGE: [
    3,
    3,
    (store, key, start, stop) => {
      const value = store.string(key) ?? "";
      return value.slice(...range(start, stop, value.length));
    },
  ],
};
