// The functions that reach the store.
//
// Keys and fields are text; values are text unless a name says bytes. If the store answers with an
// error, the call has failed: the function may go on or return, and its caller gets that error.

import * as abi from "./abi";
import { Status } from "./abi";
import { failed, failStatus, failWith } from "./failure";
import { Float, Integer } from "./number";
import { bytesOf, excerpt, isUtf8, textOf } from "./text";
import { Request, Response } from "./request";
import { Value } from "./value";

export { Request, Response } from "./request";
export { refuse } from "./entry";
export { fail } from "./failure";
export { Value, Kind } from "./value";

/** Bytes of a result to fetch at first; most results are shorter. */
const FIRST_BYTES: i32 = 256;

/** Conditions and expiry of `set`. */
export class SetOptions {
  /** Only if the key does not exist. */
  ifAbsent: bool = false;
  /** Only if the key exists. */
  ifPresent: bool = false;
  /** Keep the key's expiry. */
  keepTtl: bool = false;
  /** Expire after this many milliseconds; below 0: not at all. */
  ttlMillis: i64 = -1;

  get bits(): i32 {
    return i32(this.ifAbsent) | (i32(this.ifPresent) << 1) | (i32(this.keepTtl) << 2);
  }
}

/** Importance of a log line. */
export enum Level {
  Trace,
  Debug,
  Info,
  Warn,
  Error,
}

function address(bytes: ArrayBuffer): usize {
  return changetype<usize>(bytes);
}

/** Returns the whole result that starts with `first`; null if there is none. */
function result(first: ArrayBuffer, len: i32, operation: string, subject: ArrayBuffer): ArrayBuffer | null {
  if (len < 0) {
    if (len != Status.NOT_FOUND) failStatus(len, operation, subject);
    return null;
  }
  if (len <= FIRST_BYTES) return first.slice(0, len);
  const whole = new ArrayBuffer(len);
  memory.copy(address(whole), address(first), FIRST_BYTES);
  abi.take(address(whole) + FIRST_BYTES, FIRST_BYTES, len - FIRST_BYTES);
  return whole;
}

/** Returns a count from the host; 0 if it returned an error. */
function counted(count: i32, operation: string, subject: ArrayBuffer): i32 {
  if (count >= 0) return count;
  failStatus(count, operation, subject);
  return 0;
}

function asText(bytes: ArrayBuffer | null, what: string, subject: ArrayBuffer): string | null {
  if (bytes === null) return null;
  if (!isUtf8(bytes)) {
    failWith("ERR the value of " + what + " " + excerpt(subject) + " must be UTF-8 text, not " + excerpt(bytes));
    return null;
  }
  return textOf(bytes);
}

/** Reads a string; null if the key does not exist. */
export function get(key: string): string | null {
  return asText(getBytes(key), "key", bytesOf(key));
}

/** Reads a string's bytes; null if the key does not exist. */
export function getBytes(key: string): ArrayBuffer | null {
  if (failed()) return null;
  const name = bytesOf(key);
  const first = new ArrayBuffer(FIRST_BYTES);
  const len = abi.get(address(name), name.byteLength, address(first), FIRST_BYTES);
  return result(first, len, "get", name);
}

/** Reads a string as an integer; returns `otherwise` if the key does not exist. */
export function getInteger(key: string, otherwise: i64 = 0): i64 {
  const bytes = getBytes(key);
  if (bytes === null) return otherwise;
  const parsed = Integer.parse(textOf(bytes));
  if (!parsed.ok) {
    failWith("ERR the value of key " + excerpt(bytesOf(key)) + " must be a 64-bit integer, not " + excerpt(bytes));
    return otherwise;
  }
  return parsed.value;
}

/** Writes a string; returns false if the options prevent it. */
export function set(key: string, value: string, options: SetOptions | null = null): bool {
  return setBytes(key, bytesOf(value), options);
}

/** Writes a string's bytes; returns false if the options prevent it. */
export function setBytes(key: string, value: ArrayBuffer, options: SetOptions | null = null): bool {
  if (failed()) return false;
  const name = bytesOf(key);
  const bits = options !== null ? options.bits : 0;
  const ttl = options !== null ? options.ttlMillis : -1;
  const status = abi.set(address(name), name.byteLength, address(value), value.byteLength, bits, ttl);
  if (status == Status.NOT_STORED) return false;
  if (status < 0) failStatus(status, "set", name);
  return status == 0;
}

/** Pairs of address and length for the host, and the bytes that they point to. */
class Pairs {
  readonly table: StaticArray<u32>;
  private readonly kept: Array<ArrayBuffer> = [];

  constructor(texts: Array<string>) {
    this.table = new StaticArray<u32>(texts.length * 2);
    for (let i = 0; i < texts.length; i++) {
      const bytes = bytesOf(texts[i]);
      this.kept.push(bytes);
      this.table[i * 2] = <u32>address(bytes);
      this.table[i * 2 + 1] = bytes.byteLength;
    }
  }

  get pointer(): usize {
    return changetype<usize>(this.table);
  }

  get first(): ArrayBuffer {
    return this.kept.length > 0 ? this.kept[0] : new ArrayBuffer(0);
  }
}

/** Deletes a key; returns true if it existed. */
export function del(key: string): bool {
  return delMany([key]) > 0;
}

/** Deletes keys; returns the number of keys that existed. */
export function delMany(keys: Array<string>): i32 {
  if (failed()) return 0;
  const pairs = new Pairs(keys);
  return counted(abi.del(pairs.pointer, keys.length), "del", pairs.first);
}

/** Returns true if a key exists. */
export function exists(key: string): bool {
  if (failed()) return false;
  const pairs = new Pairs([key]);
  return counted(abi.exists(pairs.pointer, 1), "exists", pairs.first) > 0;
}

/** Adds one to an integer, which starts at 0; returns the sum. */
export function incr(key: string): i64 {
  return incrBy(key, 1);
}

/** Adds to an integer, which starts at 0; returns the sum. */
export function incrBy(key: string, delta: i64): i64 {
  if (failed()) return 0;
  const name = bytesOf(key);
  const out = new StaticArray<i64>(1);
  const status = abi.incr_by(address(name), name.byteLength, delta, changetype<usize>(out));
  if (status != 0) failStatus(status, "incr_by", name);
  return out[0];
}

/** Lets a key expire after `secs` seconds, at once if that is 0 or less; true if it exists. */
export function expire(key: string, secs: i64): bool {
  const millis = secs * 1000;
  if (millis / 1000 == secs) return expireMillis(key, millis);
  return expireMillis(key, secs < 0 ? i64.MIN_VALUE : i64.MAX_VALUE);
}

/** Lets a key expire after `millis` milliseconds; returns true if it exists. */
export function expireMillis(key: string, millis: i64): bool {
  if (failed()) return false;
  const name = bytesOf(key);
  return counted(abi.expire(address(name), name.byteLength, millis), "expire", name) > 0;
}

/** Returns the milliseconds until a key expires, -1 without expiry, -2 without key. */
export function ttl(key: string): i64 {
  if (failed()) return -2;
  const name = bytesOf(key);
  const millis = abi.ttl(address(name), name.byteLength);
  if (millis <= Status.DENIED) failStatus(millis, "ttl", name);
  return millis;
}

/** Reads a hash's field; null if the field or the hash does not exist. */
export function hget(key: string, field: string): string | null {
  return asText(hgetBytes(key, field), "field", bytesOf(field));
}

/** Reads the bytes of a hash's field; null if the field or the hash does not exist. */
export function hgetBytes(key: string, field: string): ArrayBuffer | null {
  if (failed()) return null;
  const name = bytesOf(key);
  const part = bytesOf(field);
  const first = new ArrayBuffer(FIRST_BYTES);
  const len = abi.hget(
    address(name), name.byteLength, address(part), part.byteLength, address(first), FIRST_BYTES,
  );
  return result(first, len, "hget", name);
}

/** Writes a hash's field; returns true if it is new. */
export function hset(key: string, field: string, value: string): bool {
  if (failed()) return false;
  const name = bytesOf(key);
  const part = bytesOf(field);
  const content = bytesOf(value);
  const status = abi.hset(
    address(name), name.byteLength, address(part), part.byteLength, address(content), content.byteLength,
  );
  return counted(status, "hset", name) > 0;
}

/** Deletes a hash's field; returns true if it existed. */
export function hdel(key: string, field: string): bool {
  if (failed()) return false;
  const name = bytesOf(key);
  const pairs = new Pairs([field]);
  return counted(abi.hdel(address(name), name.byteLength, pairs.pointer, 1), "hdel", name) > 0;
}

/** Reads a whole hash; null if the key does not exist. */
export function hgetall(key: string): Map<string, string> | null {
  const map = call("HGETALL", [key]).map;
  return map.size > 0 ? map : null;
}

/** Runs any command. If it replies an error, the call fails with it. */
export function call(command: string, args: Array<string> = []): Value {
  if (failed()) return Value.none();
  const name = bytesOf(command);
  const list = bytesOf(encodeList(args));
  const first = new ArrayBuffer(FIRST_BYTES);
  const len = abi.call(
    address(name), name.byteLength, address(list), list.byteLength, address(first), FIRST_BYTES,
  );
  const bytes = result(first, len, "call", name);
  if (bytes === null) return Value.none();
  if (bytes.byteLength > 2 && load<u8>(address(bytes)) == 0x2d) {
    failWith(textOf(bytes.slice(1, bytes.byteLength - 2)));
    return Value.none();
  }
  const value = Value.decode(bytes);
  if (value === null) {
    failWith("ERR the reply of " + command + " is malformed");
    return Value.none();
  }
  return value;
}

/** Number of keys that one page of `scanKeys` looks at. */
const SCAN_PAGE = "500";

/**
 * Goes through the keys that match a pattern, page by page: other calls and commands run in between.
 *
 *   const keys = ferrite.scanKeys("user:*");
 *   for (let key = keys.next(); key !== null; key = keys.next()) { … }
 *
 * The keys come in no order, and one that is there all the time comes at least once. A key that comes or goes
 * meanwhile may be missing, and one may come twice. In a cluster these are the keys of the node that runs the
 * call; with `WASM.CALLALL` every node goes through its own.
 */
export function scanKeys(pattern: string): ScanKeys {
  return new ScanKeys(pattern);
}

/** The keys that match a pattern; see `scanKeys`. */
export class ScanKeys {
  private cursor: string = "0";
  private page: Array<string> = [];
  private at: i32 = 0;
  private ended: bool = false;

  constructor(private readonly pattern: string) {}

  /** The next key; null after the last. */
  next(): string | null {
    while (this.at >= this.page.length) {
      if (this.ended) return null;
      const reply = call("SCAN", [this.cursor, "MATCH", this.pattern, "COUNT", SCAN_PAGE]).items;
      if (reply.length < 2) {
        this.ended = true;
        return null;
      }
      this.cursor = reply[0].text;
      this.ended = this.cursor == "0";
      this.page = reply[1].texts;
      this.at = 0;
    }
    return this.page[this.at++];
  }
}

/** Writes texts as a RESP array of bulk strings. */
function encodeList(texts: Array<string>): string {
  let encoded = "*" + texts.length.toString() + "\r\n";
  for (let i = 0; i < texts.length; i++) {
    const len = String.UTF8.byteLength(texts[i]);
    encoded += "$" + len.toString() + "\r\n" + texts[i] + "\r\n";
  }
  return encoded;
}

/**
 * Makes a request to another server and waits for its response. The function's permissions must list
 * the request in `allow_network`, or the call fails.
 */
export function fetch(request: Request): Response {
  if (failed()) return Response.none("ERR the call has failed");
  const list = encodeRequest(request);
  const first = new ArrayBuffer(FIRST_BYTES);
  const len = abi.http(address(list), list.byteLength, address(first), FIRST_BYTES);
  const bytes = result(first, len, "http", bytesOf(request.url));
  if (bytes === null) return Response.none("ERR the request is not permitted");
  if (bytes.byteLength > 2 && load<u8>(address(bytes)) == 0x2d) {
    return Response.none(textOf(bytes.slice(1, bytes.byteLength - 2)));
  }
  const value = Value.decode(bytes);
  if (value === null || value.items.length < 3) return Response.none("ERR the response is malformed");
  return Response.of(value.items);
}

/**
 * Makes a request a part of what the call commits, and returns its idempotency key.
 *
 * If the call commits, the host sends the request afterwards, and again until the server accepts it by a
 * status from 200 to 299. It may arrive more than once, each time with the same header `idempotency-key`:
 * the one that the request has, or a random one. Nothing is sent for a call that fails. A request that
 * cannot be added makes the call fail.
 */
export function afterCommit(request: Request): string {
  if (failed()) return "";
  const list = encodeRequest(request);
  const url = bytesOf(request.url);
  const first = new ArrayBuffer(FIRST_BYTES);
  const len = abi.after_commit(address(list), list.byteLength, address(first), FIRST_BYTES);
  const bytes = result(first, len, "after_commit", url);
  if (bytes === null) return "";
  if (bytes.byteLength > 2 && load<u8>(address(bytes)) == 0x2d) {
    failWith(textOf(bytes.slice(1, bytes.byteLength - 2)));
    return "";
  }
  const value = Value.decode(bytes);
  return value === null ? "" : value.text;
}

function encodeRequest(request: Request): ArrayBuffer {
  const words: Array<string> = [request.method, request.url, request.body];
  const names = request.headers.keys();
  for (let i = 0; i < names.length; i++) {
    words.push(names[i]);
    words.push(request.headers.get(names[i]));
  }
  if (request.timeoutMillis > 0) {
    words.push(":timeout");
    words.push(request.timeoutMillis.toString());
  }
  if (request.noRedirects) {
    words.push(":redirects");
    words.push("0");
  }
  return bytesOf(encodeList(words));
}

/**
 * Reads a value of the function's own configuration, which `CONFIG` of `WASM.LOAD` and `WASM.CONFIG` set;
 * null if it has none of this name. Secrets belong there, and not into code.
 */
export function config(name: string): string | null {
  if (failed()) return null;
  const subject = bytesOf(name);
  const first = new ArrayBuffer(FIRST_BYTES);
  const len = abi.config(address(subject), subject.byteLength, address(first), FIRST_BYTES);
  const bytes = result(first, len, "config", subject);
  return bytes === null ? null : textOf(bytes);
}

/** Reads an integer: digits after an optional minus sign, within 64 bits. */
export function parseInteger(text: string): Integer {
  return Integer.parse(text);
}

/** Reads a number as parameters of type `f64` are read. */
export function parseNumber(text: string): Float {
  return Float.parse(text);
}

/** Writes a line to the server's log. */
export function log(level: Level, text: string): void {
  const bytes = bytesOf(text);
  abi.log(level, address(bytes), bytes.byteLength);
}

/** Returns the milliseconds since 1970, the same throughout a call. */
export function timeMillis(): i64 {
  return abi.time_millis();
}

/** Random bytes. */
export function random(len: i32): ArrayBuffer {
  const bytes = new ArrayBuffer(len);
  abi.random(address(bytes), len);
  return bytes;
}
