// Write Ferrite WASM functions in AssemblyScript.
//
//   import { ferrite } from "@ferrite/wasm-sdk";
//
//   export function rate_limit(key: string, limit: i64, window_secs: i64): bool {
//     const current = ferrite.getInteger(key);
//     if (current >= limit) return false;
//     ferrite.incr(key);
//     if (current == 0) ferrite.expire(key, window_secs);
//     return true;
//   }
//
// Every function that the entry file exports becomes callable, by the package's transform.

import * as ferrite from "./ferrite";

export { ferrite };
export { Level, SetOptions, Value, Kind, Request, Response } from "./ferrite";
export { Reply, reply, replyArray, replyPairs } from "./entry";
export { Json } from "./json";
