// Every function that this file exports can be called by its name.

import { ferrite } from "@ferrite/wasm-sdk";

/** At most `limit` calls in a window of so many seconds. */
export function rate_limit(key: string, limit: i64, window_secs: i64): bool {
  const current = ferrite.getInteger(key);
  if (current >= limit) return false;
  ferrite.incr(key);
  if (current == 0) ferrite.expire(key, window_secs);
  return true;
}
