// The twenty functions of `../from-lua`, which replace scripts in Lua, in JavaScript. One file, compiled by
// `ferrite-wasmc compile`. Its types are those of TypeScript, which checks it as it is.

import * as ferrite from "ferrite-wasm";
import { ReplyError, bigint, entry, integer, json, number, text } from "ferrite-wasm";

// Limits: a fixed window, a sliding one, a token bucket.

/** At most `limit` calls in a fixed window. */
export const rate_limit = entry(
  "rate_limit",
  { key: text, limit: integer, window_secs: integer },
  ({ key, limit, window_secs }) => {
    const current = ferrite.getInteger(key);
    if (current >= limit) return false;
    ferrite.incr(key);
    if (current === 0) ferrite.expire(key, window_secs);
    return true;
  },
);

/** At most `limit` calls in any window, by a sorted set of the calls' times; and how many are left. */
export const sliding_window = entry(
  "sliding_window",
  { key: text, now: integer, window: integer, limit: integer, call: text },
  ({ key, now, window, limit, call }) => {
    ferrite.call("ZREMRANGEBYSCORE", key, "-inf", now - window);
    const left = limit - Number(ferrite.call("ZCARD", key));
    if (left <= 0) return [false, 0];
    ferrite.call("ZADD", key, now, call);
    ferrite.expireMillis(key, window);
    return [true, left - 1];
  },
);

/**
 * A bucket of `capacity` tokens that refills by `rate` a second; or how many ms to wait.
 *
 * Counts thousandths of a token, so that all of it stays in integers.
 */
export const token_bucket = entry(
  "token_bucket",
  { key: text, capacity: integer, rate: integer, now: integer, cost: integer },
  ({ key, capacity, rate, now, cost }) => {
    const full = capacity * 1000;
    const since = now - Number(fieldInteger(key, "at") ?? now);
    const before = Number(fieldInteger(key, "tokens") ?? full);
    const tokens = Math.min(full, before + Math.max(0, since) * rate) - cost * 1000;
    if (tokens < 0) return [false, Math.ceil(-tokens / rate)];
    ferrite.hset(key, { tokens, at: now });
    ferrite.expireMillis(key, Math.ceil((full - tokens) / rate) + 1000);
    return [true, 0];
  },
);

// Locks with an owner and an end.

/** Takes a lock; its fencing token, or null where somebody has it. */
export const lock_acquire = entry(
  "lock_acquire",
  { lock: text, fence: text, owner: text, ttl: integer },
  ({ lock, fence, owner, ttl }) =>
    ferrite.set(lock, owner, { ifAbsent: true, ttlMillis: ttl }) ? ferrite.incr(fence) : null,
);

/** Gives a lock back, if it is still the owner's. */
export const lock_release = entry(
  "lock_release",
  { lock: text, owner: text },
  ({ lock, owner }) => ferrite.get(lock) === owner && ferrite.del(lock) === 1,
);

/** Keeps a lock for longer, if it is still the owner's. */
export const lock_extend = entry(
  "lock_extend",
  { lock: text, owner: text, ttl: integer },
  ({ lock, owner, ttl }) => ferrite.get(lock) === owner && ferrite.expireMillis(lock, ttl),
);

// Updates on a condition.

/** Replaces a value that is what is expected. */
export const compare_and_set = entry(
  "compare_and_set",
  { key: text, expected: text, new: text },
  ({ key, expected, new: replacement }) => {
    if (ferrite.get(key) !== expected) return false;
    return ferrite.set(key, replacement);
  },
);

/** Adds to a counter, unless that would lead out of its bounds; and the counter. */
export const bounded_counter = entry(
  "bounded_counter",
  { key: text, delta: bigint, least: bigint, most: bigint },
  ({ key, delta, least, most }) => {
    const current = BigInt(ferrite.getInteger(key));
    const sum = current + delta;
    if (sum < least || sum > most) return [false, current];
    ferrite.set(key, sum);
    return [true, sum];
  },
);

/**
 * Updates a record that nobody has changed since `version` was read; and its version now.
 *
 * @param {string[]} keys the record
 * @param {string[]} args the version, and pairs of a field and its new value
 */
export function versioned_update([key], [version, ...changes]) {
  const current = fieldInteger(key, "version") ?? 0n;
  if (current !== wholeNumber("'version'", version)) return [false, current];
  for (const [field, value] of pairs("'changes'", changes)) ferrite.hset(key, field, value);
  return [true, ferrite.call("HINCRBY", key, "version", 1)];
}

/** Keeps the greatest value seen; whether that is the candidate. */
export const keep_maximum = entry("keep_maximum", { key: text, candidate: bigint }, ({ key, candidate }) => {
  const current = ferrite.getInteger(key, null);
  if (current !== null && current >= candidate) return false;
  return ferrite.set(key, candidate);
});

// Leaderboards on sorted sets.

/** Enters a score, of which the best counts; the player's rank and best score. */
export const leaderboard_submit = entry(
  "leaderboard_submit",
  { board: text, player: text, score: number },
  ({ board, player, score }) => {
    ferrite.call("ZADD", board, "GT", score, player);
    const rank = Number(ferrite.call("ZREVRANK", board, player));
    return [rank + 1, ferrite.call("ZSCORE", board, player)];
  },
);

/** A page of a board: rank, name and score of each player. */
export const leaderboard_page = entry(
  "leaderboard_page",
  { board: text, names: text, page: integer, size: integer },
  ({ board, names, page, size }) => {
    const first = (page - 1) * size;
    const range = ferrite.call("ZREVRANGE", board, first, first + size - 1, "WITHSCORES");
    const found = /** @type {string[]} */ (range);
    return pairs("ZREVRANGE", found).map(([player, score], at) => [
      first + at + 1,
      ferrite.hget(names, player) ?? player,
      score,
    ]);
  },
);

// Orders: stock, balances, carts. All or nothing, also where a call fails half-way.

/**
 * Reserves all items of an order or none; how many pieces that were.
 *
 * @param {string[]} keys the stock and the order
 * @param {string[]} args pairs of an item and a number of pieces
 */
export function inventory_reserve([stock, order], args) {
  const items = pairs("'items'", args).map(([item, count]) => ({ item, count: wholeNumber("a count", count) }));
  for (const { item, count } of items) {
    const left = fieldInteger(stock, item) ?? 0n;
    if (left < count) throw new ReplyError(`OUTOFSTOCK ${item} has ${left} left`);
  }
  for (const { item, count } of items) {
    ferrite.call("HINCRBY", stock, item, -count);
    ferrite.call("HINCRBY", order, item, count);
  }
  return items.reduce((sum, { count }) => sum + count, 0n);
}

/** Moves an amount between two balances; both balances. */
export const transfer = entry("transfer", { from: text, to: text, amount: bigint }, ({ from, to, amount }) => {
  if (amount <= 0) throw new ReplyError("BADAMOUNT an amount is more than 0");
  const balance = ferrite.getInteger(from);
  if (balance < amount) throw new ReplyError(`INSUFFICIENT the balance is ${balance}`);
  return [ferrite.incr(from, -amount), ferrite.incr(to, amount)];
});

/** A list of articles, each with a number of pieces. */
const items = json((/** @type {any} */ cart) => {
  if (!Array.isArray(cart)) throw new TypeError("a cart is an array");
  for (const item of cart) {
    if (typeof item?.sku !== "string") throw new TypeError("missing field `sku`");
    if (!Number.isSafeInteger(item.count)) throw new TypeError("`count` must be an integer");
  }
  return /** @type {{ sku: string, count: number }[]} */ (cart);
});

/** Adds up a cart that comes as JSON. */
export const cart_total = entry("cart_total", { prices: text, cart: items }, ({ prices, cart }) => {
  let total = 0n;
  for (const { sku, count } of cart) {
    const price = fieldInteger(prices, sku);
    if (price === null) throw new ReplyError(`NOPRICE ${sku} has no price`);
    total += price * BigInt(count);
  }
  return total;
});

// Queues: messages once, jobs under a lease, jobs for later.

/** Returns true if a message is seen for the first time. */
export const dedupe = entry("dedupe", { marker: text, ttl_secs: integer }, ({ marker, ttl_secs }) =>
  ferrite.set(marker, 1, { ifAbsent: true, ttlMillis: ttl_secs * 1000 }),
);

/** Takes jobs from a queue under a lease; who finishes one removes it from `taken`. */
export const queue_take = entry(
  "queue_take",
  { pending: text, taken: text, now: integer, lease: integer, most: integer },
  ({ pending, taken, now, lease, most }) => {
    const jobs = [];
    while (jobs.length < most) {
      const job = /** @type {string | null} */ (ferrite.call("LPOP", pending));
      if (job === null) break;
      ferrite.call("ZADD", taken, now + lease, job);
      jobs.push(job);
    }
    return jobs;
  },
);

/** Moves jobs that are due to the queue; how many. */
export const delayed_jobs = entry(
  "delayed_jobs",
  { schedule: text, queue: text, now: integer, most: integer },
  ({ schedule, queue, now, most }) => {
    const range = ferrite.call("ZRANGEBYSCORE", schedule, "-inf", now, "LIMIT", 0, most);
    const due = /** @type {string[]} */ (range);
    for (const job of due) {
      ferrite.call("ZREM", schedule, job);
      ferrite.call("RPUSH", queue, job);
    }
    return due.length;
  },
);

// Keys by pattern, and sessions.

/** Deletes all keys that match; how many. */
export const delete_by_pattern = entry("delete_by_pattern", { pattern: text }, ({ pattern }) => {
  let deleted = 0;
  for (const key of ferrite.scan(pattern)) deleted += ferrite.del(key);
  return deleted;
});

/** Reads a session and keeps it alive: its user and how often it was read; null where it is gone. */
export const session_touch = entry(
  "session_touch",
  { key: text, ttl_secs: integer, now: integer },
  ({ key, ttl_secs, now }) => {
    const user = ferrite.hget(key, "user");
    if (user === null) return null;
    ferrite.hset(key, "seen", now);
    ferrite.expire(key, ttl_secs);
    return [user, ferrite.call("HINCRBY", key, "hits", 1)];
  },
);

// What several of them need.

/**
 * Reads an integer of 64 bits. `what` says in errors which one.
 *
 * @param {string} what
 * @param {string} digits
 */
function wholeNumber(what, digits) {
  const value = bigint.read(digits);
  if (value === undefined) throw new ReplyError(`${what} must be a 64-bit integer, not ${JSON.stringify(digits)}`);
  return value;
}

/**
 * Reads a field of a hash as an integer; null without it.
 *
 * @param {string} key
 * @param {string} field
 */
function fieldInteger(key, field) {
  const value = ferrite.hget(key, field);
  return value === null ? null : wholeNumber(`the value of field ${JSON.stringify(field)}`, value);
}

/**
 * Takes values two by two. `what` says in errors which ones.
 *
 * @param {string} what
 * @param {string[]} values
 */
function pairs(what, values) {
  if (values.length % 2 === 1) throw new ReplyError(`${what} must come in pairs, not as ${values.length} values`);
  /** @type {[string, string][]} */
  const taken = [];
  for (let at = 0; at < values.length; at += 2) taken.push([values[at], values[at + 1]]);
  return taken;
}
