// What a call from a language costs at least, with two commands, and with some work. The same in Python is beside it.

import { entry, get, set, text } from "ferrite-wasm";

export const nothing = entry("nothing", {}, () => 1);

export const get_set = entry("get_set", { key: text, value: text }, ({ key, value }) => {
  const before = get(key);
  set(key, value);
  return before;
});

/** Reads a document, changes each of its orders, and replies it as text. */
export const json = entry("json", { document: text }, ({ document }) => {
  const read = JSON.parse(document);
  for (const order of read.orders) order.total = order.price * order.count;
  return JSON.stringify(read);
});
