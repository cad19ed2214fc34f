// Commands on hashes.

import { flag, float, floatText, integer, sum, wrongCount } from "../values.mjs";

const view = (run) => (store, key, ...fields) => run(store.view(key, "hash"), ...fields);
const edit = (run) => (store, key, ...fields) => store.edit(key, "hash", (hash) => run(hash, ...fields));

export const hashes = {
  HGET: [2, 2, view((hash, field) => hash.get(field) ?? null)],
  HMGET: [2, Infinity, view((hash, ...fields) => fields.map((field) => hash.get(field) ?? null))],
  HEXISTS: [2, 2, view((hash, field) => flag(hash.has(field)))],
  HLEN: [1, 1, view((hash) => BigInt(hash.size))],
  HSTRLEN: [2, 2, view((hash, field) => BigInt((hash.get(field) ?? "").length))],
  HGETALL: [1, 1, view((hash) => [...hash].flat())],
  HKEYS: [1, 1, view((hash) => [...hash.keys()])],
  HVALS: [1, 1, view((hash) => [...hash.values()])],
  HSET: [
    3,
    Infinity,
    edit((hash, ...pairs) => {
      if (pairs.length % 2 !== 0) wrongCount("HSET");
      const before = hash.size;
      for (let i = 0; i < pairs.length; i += 2) hash.set(pairs[i], pairs[i + 1]);
      return BigInt(hash.size - before);
    }),
  ],
  HSETNX: [
    3,
    3,
    edit((hash, field, value) => {
      const absent = !hash.has(field);
      if (absent) hash.set(field, value);
      return flag(absent);
    }),
  ],
  HDEL: [2, Infinity, edit((hash, ...fields) => BigInt(fields.filter((field) => hash.delete(field)).length))],
  HINCRBY: [
    3,
    3,
    edit((hash, field, delta) => {
      const by = integer(delta);
      const total = sum(integer(hash.get(field) ?? "0", "ERR hash value is not an integer"), by);
      hash.set(field, String(total));
      return total;
    }),
  ],
  HINCRBYFLOAT: [
    3,
    3,
    edit((hash, field, delta) => {
      const by = float(delta);
      const total = floatText(float(hash.get(field) ?? "0", "ERR hash value is not a float") + by);
      hash.set(field, total);
      return total;
    }),
  ],
};
