// Functions that read numbers, print, and fail.

import { type Reply, ReplyError, afterCommit, bigint, call, config, cron, entry, every, fetch, number, on, scanKeys, text } from "ferrite-wasm";

export const integer = entry("integer", { n: bigint }, ({ n }) => n);

// As text: a number without a fraction would be an integer reply.
export const float = entry("float", { n: number }, ({ n }) => (Object.is(n, -0) ? "-0" : `${n}`));

export const print = entry("print", { text }, ({ text }) => {
  console.log("printed " + text);
});

interface Wanted {
  why: string;
}

export const fail = entry("fail", { text }, ({ text }) => inner({ why: text }));

function inner(wanted: Wanted): never {
  throw new Error("on purpose: " + wanted.why);
}

export const refuse = entry("refuse", { text }, ({ text }) => {
  throw new ReplyError(`REFUSED ${text}`);
});

function deeper(n: number): number {
  return deeper(n + 1) + n;
}

export function overflow(): number {
  return deeper(1);
}

export const half = entry("half", { text }, ({ text }) => text.substring(0, 1));

export async function later(): Promise<Reply> {
  const answer = await Promise.all([1, 2].map(async (n) => n * 2));
  await null;
  return [...answer, call("STRLEN", "nothing")];
}

export function library(): boolean {
  return Math.random() < 1 && Date.now() > 1_600_000_000_000 && crypto.randomUUID().length === 36;
}

export const ask = entry("ask", { url: text }, async ({ url }) => {
  const response = await fetch(url, { method: "POST", body: "body", headers: { "X-A": "b" }, timeoutMillis: 60_000 });
  return [response.status, await response.text(), response.headers.get("content-length") ?? "none", response.url];
});

export const tell = entry("tell", { url: text }, ({ url }) => [
  afterCommit(url, { method: "POST", body: "later" }),
  config("token") ?? "none",
  config("other") ?? "none",
]);

export const keys = entry("keys", { pattern: text }, ({ pattern }) => {
  let count = 0;
  for (const key of scanKeys(pattern)) count += key.startsWith("k:") ? 1 : 0;
  return count;
});

export function watched(): void {}

export const automation = [
  on("watched", { keys: ["a b", "order:*"], events: ["set", "del"] }),
  every("watched", "365d"),
  cron("watched", "0 3 1 1 *", { missed: "once", keys: "k", args: ["x", "y z"] }),
];
