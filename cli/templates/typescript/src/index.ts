// Every function that this file exports can be called by its name.

import { entry, expire, getInteger, incr, integer, text } from "ferrite-wasm";

/**
 * Allows `limit` calls within `window_secs` seconds.
 *
 *   WASM.CALL NAME.rate_limit KEYS api:1 ARGS 100 60
 */
export const rate_limit = entry(
  "rate_limit",
  { key: text, limit: integer, window_secs: integer },
  ({ key, limit, window_secs }) => {
    const current = getInteger(key);
    if (current >= limit) return false;
    incr(key);
    if (current === 0) expire(key, window_secs);
    return true;
  },
);
