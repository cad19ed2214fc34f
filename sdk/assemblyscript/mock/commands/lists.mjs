// Commands on lists.

import { count, fail, integer, OK, range, syntaxError } from "../values.mjs";

const view = (run) => (store, key, ...args) => run(store.view(key, "list"), ...args);

function push(left, onlyIfThere) {
  return (store, key, ...values) => {
    if (onlyIfThere && store.view(key, "list").length === 0) return 0n;
    return store.edit(key, "list", (list) => {
      for (const value of values) left ? list.unshift(value) : list.push(value);
      return BigInt(list.length);
    });
  };
}

function pop(left) {
  return (store, key, wanted) => {
    const most = wanted === undefined ? 1 : count(wanted);
    if (store.view(key, "list").length === 0) return null;
    return store.edit(key, "list", (list) => {
      const popped = [];
      while (popped.length < most && list.length > 0) popped.push(left ? list.shift() : list.pop());
      return wanted === undefined ? popped[0] : popped;
    });
  };
}

function end(text) {
  const word = text.toUpperCase();
  if (word !== "LEFT" && word !== "RIGHT") syntaxError();
  return word === "LEFT";
}

function move(store, from, to, fromLeft, toLeft) {
  store.view(to, "list");
  const value = pop(fromLeft)(store, from);
  if (value !== null) push(toLeft)(store, to, value);
  return value;
}

function remove(store, key, wanted, value) {
  const from = integer(wanted);
  return store.edit(key, "list", (list) => {
    let left = from === 0n ? list.length : Number(from < 0n ? -from : from);
    const before = list.length;
    const step = from < 0n ? -1 : 1;
    for (let i = from < 0n ? before - 1 : 0; left > 0 && i >= 0 && i < list.length; i += step) {
      if (list[i] !== value) continue;
      list.splice(i, 1);
      left--;
      if (step > 0) i--;
    }
    return BigInt(before - list.length);
  });
}

/** The item at an index, which counts from the end if it is negative. */
function place(list, index) {
  const at = integer(index);
  return Number(at < 0n ? at + BigInt(list.length) : at);
}

export const lists = {
  LPUSH: [2, Infinity, push(true, false)],
  RPUSH: [2, Infinity, push(false, false)],
  LPUSHX: [2, Infinity, push(true, true)],
  RPUSHX: [2, Infinity, push(false, true)],
  LPOP: [1, 2, pop(true)],
  RPOP: [1, 2, pop(false)],
  LLEN: [1, 1, view((list) => BigInt(list.length))],
  LRANGE: [3, 3, view((list, start, stop) => list.slice(...range(start, stop, list.length)))],
  LINDEX: [2, 2, view((list, index) => list[place(list, index)] ?? null)],
  LPOS: [
    2,
    2,
    view((list, value) => {
      const at = list.indexOf(value);
      return at < 0 ? null : BigInt(at);
    }),
  ],
  LSET: [
    3,
    3,
    (store, key, index, value) => {
      const list = store.value(key, "list") ?? fail("ERR no such key");
      const at = place(list, index);
      if (at < 0 || at >= list.length) fail("ERR index out of range");
      list[at] = value;
      return OK;
    },
  ],
  LINSERT: [
    4,
    4,
    (store, key, where, pivot, value) => {
      const after = { BEFORE: 0, AFTER: 1 }[where.toUpperCase()] ?? syntaxError();
      return store.edit(key, "list", (list) => {
        if (list.length === 0) return 0n;
        const at = list.indexOf(pivot);
        if (at < 0) return -1n;
        list.splice(at + after, 0, value);
        return BigInt(list.length);
      });
    },
  ],
  LREM: [3, 3, remove],
  LTRIM: [
    3,
    3,
    (store, key, start, stop) =>
      store.edit(key, "list", (list) => {
        const kept = list.slice(...range(start, stop, list.length));
        list.splice(0, list.length, ...kept);
        return OK;
      }),
  ],
  LMOVE: [4, 4, (store, from, to, fromEnd, toEnd) => move(store, from, to, end(fromEnd), end(toEnd))],
  RPOPLPUSH: [2, 2, (store, from, to) => move(store, from, to, false, true)],
};
