// Commands on keys of any type.

import { matches } from "../glob.mjs";
import { fail, flag, integer, OK, syntaxError } from "../values.mjs";

function remove(store, ...keys) {
  return BigInt(keys.filter((key) => store.item(key) && store.items.delete(key)).length);
}

/** Pages through the keys in order; the cursor is the number of keys already looked at. */
function scan(store, cursor, ...options) {
  const start = Number(integer(cursor, "ERR invalid cursor"));
  let pattern = "*";
  let page = 10;
  while (options.length > 0) {
    const option = options.shift().toUpperCase();
    if (options.length === 0) syntaxError();
    if (option === "MATCH") pattern = options.shift();
    else if (option === "COUNT") page = Math.max(Number(integer(options.shift())), 1);
    else syntaxError();
  }
  const all = store.keys();
  const next = start + page < all.length ? start + page : 0;
  return [String(next), all.slice(start, start + page).filter((key) => matches(pattern, key))];
}

export const keys = {
  DEL: [1, Infinity, remove],
  UNLINK: [1, Infinity, remove],
  EXISTS: [1, Infinity, (store, ...keys) => BigInt(keys.filter((key) => store.item(key)).length)],
  EXPIRE: [2, 2, (store, key, secs) => store.expire(key, Number(integer(secs)) * 1000)],
  PEXPIRE: [2, 2, (store, key, millis) => store.expire(key, Number(integer(millis)))],
  TTL: [
    1,
    1,
    (store, key) => {
      const millis = store.ttl(key);
      return BigInt(millis < 0 ? millis : Math.round(millis / 1000));
    },
  ],
  PTTL: [1, 1, (store, key) => BigInt(store.ttl(key))],
  PERSIST: [
    1,
    1,
    (store, key) => {
      const item = store.item(key);
      const expires = item !== undefined && item.expiresAt !== Infinity;
      if (expires) item.expiresAt = Infinity;
      return flag(expires);
    },
  ],
  TYPE: [1, 1, (store, key) => ({ simple: store.type(key) })],
  RENAME: [
    2,
    2,
    (store, from, to) => {
      const item = store.item(from);
      if (!item) fail("ERR no such key");
      store.items.delete(from);
      store.items.set(to, item);
      return OK;
    },
  ],
  KEYS: [1, 1, (store, pattern) => store.keys(pattern)],
  SCAN: [1, Infinity, scan],
  DBSIZE: [0, 0, (store) => BigInt(store.keys().length)],
  FLUSHDB: [
    0,
    0,
    (store) => {
      store.items.clear();
      return OK;
    },
  ],
  TIME: [0, 0, (store) => [String(Math.floor(store.now / 1000)), String((store.now % 1000) * 1000)]],
};
