// The three functions of the Rust examples, in AssemblyScript.

import { ferrite, Json, reply, Reply, replyPairs } from "@ferrite/wasm-sdk";

/** Whether one more call is allowed within the window, and counts it if so. */
export function rate_limit(key: string, limit: i64, window_secs: i64): bool {
  const current = ferrite.getInteger(key);

  if (current >= limit) return false;

  ferrite.incr(key);
  if (current == 0) ferrite.expire(key, window_secs);
  return true;
}

/** The answer of `validate_user`: whether the user may do it, and why not. */
class Verdict extends Reply {
  constructor(
    private readonly allowed: bool = false,
    private readonly reason: string = "",
  ) {
    super();
  }

  write(): void {
    replyPairs(2);
    reply("allowed");
    reply(this.allowed);
    reply("reason");
    reply(this.reason);
  }
}

/** Everything that can be asked for, in the order in which roles gain it. */
const ACTIONS: string[] = ["login", "read", "write", "delete"];

/** Whether the user at `key` may do what the request says; a login is counted and dated. */
export function validate_user(key: string, request: Json): Verdict {
  const action = request.string("action");
  if (action === null) return ferrite.refuse<Verdict>("request", 'JSON with a string "action"');
  const wanted = ACTIONS.indexOf(action);
  if (wanted < 0) {
    return ferrite.fail<Verdict>(`BADACTION ${action} is none of ${ACTIONS.join(", ")}`);
  }

  const user = ferrite.hgetall(key);
  if (user === null || !user.has("status")) return new Verdict(false, "unknown user");
  const status = user.get("status");
  if (status != "active") return new Verdict(false, `account is ${status}`);

  const role = user.has("role") ? user.get("role") : "viewer";
  const allowed = role == "admin" ? 4 : role == "editor" ? 3 : 2;
  if (wanted >= allowed) return new Verdict(false, `role ${role} may not ${action}`);

  if (action == "login") {
    ferrite.call("HINCRBY", [key, "logins", "1"]);
    ferrite.hset(key, "last_login", ferrite.timeMillis().toString());
  }
  return new Verdict(true, "ok");
}

/** The sums, by counter, over all hashes whose key matches and ends in a date of the range. */
export function aggregate_stats(pattern: string, start_date: string, end_date: string): Map<string, i64> {
  const sums = new Map<string, i64>();
  const keys = ferrite.scanKeys(pattern);
  for (let key = keys.next(); key !== null; key = keys.next()) {
    const date = key.substring(key.lastIndexOf(":") + 1);
    if (date < start_date || date > end_date) continue;
    const counters = ferrite.hgetall(key);
    if (counters === null) continue;
    const names = counters.keys();
    for (let j = 0; j < names.length; j++) {
      const name = names[j];
      const count = ferrite.parseInteger(counters.get(name));
      if (!count.ok) return ferrite.fail<Map<string, i64>>(`BADSTAT ${key} ${name} is not an integer`);
      const sum = sums.has(name) ? sums.get(name) : 0;
      const total = sum + count.value;
      // The sum of two numbers of one sign has another only where it overflowed.
      if (((sum ^ total) & (count.value ^ total)) < 0) {
        return ferrite.fail<Map<string, i64>>(`BADSTAT ${name} is too large to add up`);
      }
      sums.set(name, total);
    }
  }
  return sorted(sums);
}

function sorted(sums: Map<string, i64>): Map<string, i64> {
  const names = sums.keys().sort();
  const inOrder = new Map<string, i64>();
  for (let i = 0; i < names.length; i++) inOrder.set(names[i], sums.get(names[i]));
  return inOrder;
}
