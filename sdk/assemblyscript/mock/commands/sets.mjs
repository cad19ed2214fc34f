// Commands on sets.

import { flag } from "../values.mjs";

const view = (run) => (store, key, ...args) => run(store.view(key, "set"), ...args);
const edit = (run) => (store, key, ...args) => store.edit(key, "set", (set) => run(set, ...args));

function add(set, ...members) {
  const before = set.size;
  for (const member of members) set.add(member);
  return BigInt(set.size - before);
}

function combine(store, keys, how) {
  const [first, ...others] = keys.map((key) => store.view(key, "set"));
  if (how === "union") return new Set([first, ...others].flatMap((set) => [...set]));
  const stays = (member) => others.every((set) => set.has(member) === (how === "inter"));
  return new Set([...first].filter(stays));
}

const combined = (how) => (store, ...keys) => [...combine(store, keys, how)];

const stored = (how) => (store, to, ...keys) => {
  const set = combine(store, keys, how);
  store.replace(to, set);
  return BigInt(set.size);
};

export const sets = {
  SADD: [2, Infinity, edit(add)],
  SREM: [2, Infinity, edit((set, ...members) => BigInt(members.filter((member) => set.delete(member)).length))],
  SCARD: [1, 1, view((set) => BigInt(set.size))],
  SISMEMBER: [2, 2, view((set, member) => flag(set.has(member)))],
  SMISMEMBER: [2, Infinity, view((set, ...members) => members.map((member) => flag(set.has(member))))],
  SMEMBERS: [1, 1, view((set) => [...set])],
  SINTER: [1, Infinity, combined("inter")],
  SUNION: [1, Infinity, combined("union")],
  SDIFF: [1, Infinity, combined("diff")],
  SINTERSTORE: [2, Infinity, stored("inter")],
  SUNIONSTORE: [2, Infinity, stored("union")],
  SDIFFSTORE: [2, Infinity, stored("diff")],
  SMOVE: [
    3,
    3,
    (store, from, to, member) => {
      store.view(to, "set");
      const moves = store.edit(from, "set", (set) => set.delete(member));
      if (moves) store.edit(to, "set", (set) => set.add(member));
      return flag(moves);
    },
  ],
};
