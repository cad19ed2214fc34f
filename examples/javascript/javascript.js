// The three functions of the Rust examples, in JavaScript. One file, compiled by `ferrite-wasmc compile`.

import * as ferrite from "ferrite-wasm";
import { ReplyError, bigint, entry, integer, json, text } from "ferrite-wasm";

/** Allows one more call within the window, and counts it if so. */
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

/** Everything that can be asked for, in the order in which roles gain it. */
const ACTIONS = ["login", "read", "write", "delete"];

/** How many of them a role has. */
const ALLOWED = { admin: 4, editor: 3 };

/** What a user asks for. Other members are ignored. */
const request = json((asked) => {
  if (typeof asked?.action !== "string") throw new TypeError("missing field `action`");
  return asked;
});

const verdict = (allowed, reason) => ({ allowed, reason });

/** Tells whether the user at `key` may do what the request says; a login is counted and dated. */
export const validate_user = entry("validate_user", { key: text, request }, ({ key, request: { action } }) => {
  const wanted = ACTIONS.indexOf(action);
  if (wanted < 0) throw new ReplyError(`BADACTION ${action} is none of ${ACTIONS.join(", ")}`);

  const user = ferrite.hgetall(key);
  if (user.status === undefined) return verdict(false, "unknown user");
  if (user.status !== "active") return verdict(false, `account is ${user.status}`);

  const role = user.role ?? "viewer";
  const allowed = Object.hasOwn(ALLOWED, role) ? ALLOWED[role] : 2;
  if (wanted >= allowed) return verdict(false, `role ${role} may not ${action}`);

  if (action === "login") {
    ferrite.call("HINCRBY", key, "logins", 1);
    ferrite.hset(key, "last_login", Date.now());
  }
  return verdict(true, "ok");
});

/** Sums the counters, by name, of all hashes whose key matches and ends in a date of the range. */
export const aggregate_stats = entry(
  "aggregate_stats",
  { pattern: text, start_date: text, end_date: text },
  ({ pattern, start_date, end_date }) => {
    const sums = new Map();
    for (const key of ferrite.scanKeys(pattern)) {
      const date = key.slice(key.lastIndexOf(":") + 1);
      if (date < start_date || date > end_date) continue;
      for (const [name, value] of Object.entries(ferrite.hgetall(key))) {
        const count = bigint.read(value);
        if (count === undefined) throw new ReplyError(`BADSTAT ${key} ${name} is not an integer`);
        const sum = (sums.get(name) ?? 0n) + count;
        if (sum !== BigInt.asIntN(64, sum)) throw new ReplyError(`BADSTAT ${name} is too large to add up`);
        sums.set(name, sum);
      }
    }
    return new Map([...sums].sort(([a], [b]) => (a < b ? -1 : 1)));
  },
);
