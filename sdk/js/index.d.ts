/** Functions for Ferrite WASM: the data beside which a function runs. */

/** A key, a field or a value: text, or bytes. */
export type Bytes = string | Uint8Array;

/** A value to store; a number is stored as its text. */
export type Value = Bytes | number | bigint;

/** A command's reply. Text that is not UTF-8 is a Uint8Array; integers beyond 2**53 are bigints. */
export type Reply = null | string | number | bigint | Uint8Array | ReplyError | Reply[];

/** Conditions and expiry of `set`. */
export interface SetOptions {
  /** Only if the key does not exist. */
  ifAbsent?: boolean;
  /** Only if the key exists. */
  ifPresent?: boolean;
  /** Keep the key's expiry. */
  keepTtl?: boolean;
  /** Expire after this many milliseconds. */
  ttlMillis?: number | bigint;
}

/** Reads a string; null if there is no such key. Throws if the value is not UTF-8. */
export function get(key: Bytes): string | null;
/** Reads a string's bytes; null if there is no such key. */
export function getBytes(key: Bytes): Uint8Array | null;
/** Reads a string as an integer, which is a bigint beyond 2**53; `otherwise`, or 0, if there is no such key. */
export function getInteger<T = number>(key: Bytes, otherwise?: T): number | bigint | T;
/** Writes a string; false if the options kept it from being stored. */
export function set(key: Bytes, value: Value, options?: SetOptions): boolean;
/** Deletes keys; returns how many there were. */
export function del(...keys: Bytes[]): number;
/** Returns how many of the keys exist. */
export function exists(...keys: Bytes[]): number;
/** Adds to an integer, which starts at 0; returns the sum, a bigint beyond 2**53. */
export function incr(key: Bytes, by?: number | bigint): number | bigint;
/** Lets a key expire after seconds, at once for 0 or less; false if there is no such key. */
export function expire(key: Bytes, seconds: number | bigint): boolean;
/** Lets a key expire after milliseconds. */
export function expireMillis(key: Bytes, millis: number | bigint): boolean;
/** Milliseconds until a key expires; -1 without expiry, -2 without key. */
export function ttl(key: Bytes): number;

/** Reads a field of a hash; null if there is none. */
export function hget(key: Bytes, field: Bytes): string | null;
/** Reads the bytes of a field; null if there is none. */
export function hgetBytes(key: Bytes, field: Bytes): Uint8Array | null;
/** Writes a field; 1 if it is new, else 0. */
export function hset(key: Bytes, field: Bytes, value: Value): number;
/** Writes all properties of an object as fields; returns how many are new. */
export function hset(key: Bytes, fields: Record<string, Value>): number;
/** Deletes fields; returns how many there were. */
export function hdel(key: Bytes, ...fields: Bytes[]): number;
/** Reads a whole hash; an empty object if there is no such key. */
export function hgetall(key: Bytes): Record<string, string>;

/** Every key that matches a pattern, each once, in order. */
export function scan(pattern: string): string[];
/**
 * Goes through the keys that match a pattern, page by page: other calls and commands run in between. The keys come
 * in no order, and one that is there all the time comes at least once. In a cluster these are the keys of the node
 * that runs the call.
 */
export function scanKeys(pattern: string): Generator<string, void, undefined>;

/** A trigger or a schedule, for the export `automation`. */
export type Declaration = string;

/** What runs an entry after events of keys, or before. */
export interface TriggerOptions {
  /** Patterns of keys. */
  keys: string | string[];
  /** Names of events, or `*`. */
  events: string | string[];
  /** Run inside the transaction that writes, and perhaps refuse it. */
  before?: boolean;
}

/** What a schedule's entry gets. */
export interface ScheduleOptions {
  /** `once`: run once for all times that were missed. */
  missed?: "skip" | "once";
  keys?: string | string[];
  args?: string | string[];
}

/**
 * Declares that `entry` runs after events of keys, or before. A host adds it when it loads the module, if it stands
 * in the export `automation`: `export const automation = [on("release", { keys: "session:*", events: "expired" })]`.
 */
export function on(entry: string, options: TriggerOptions): Declaration;
/** Declares that `entry` runs again and again after a time, such as `5m`. */
export function every(entry: string, time: string, options?: ScheduleOptions): Declaration;
/** Declares that `entry` runs by an expression of cron, in UTC. */
export function cron(entry: string, expression: string, options?: ScheduleOptions): Declaration;

/** Runs any command. Its error is thrown as a ReplyError. */
export function call(command: string, ...args: Value[]): Reply;

/**
 * Reads a value of the function's own configuration, which `CONFIG` of `WASM.LOAD` and `WASM.CONFIG` set; null
 * if there is none of this name.
 */
export function config(name: string): string | null;

/** The headers of a request: an object, a list of pairs, or `Headers`. */
export type HeadersInit = Headers | Record<string, string> | Iterable<[string, string]>;

/** The body of a request: text, or bytes. */
export type Body = string | ArrayBuffer | ArrayBufferView;

/** Everything about a request but its URL. */
export interface RequestInit {
  /** `GET` if it is left out. */
  method?: string;
  headers?: HeadersInit;
  body?: Body | null;
  /** Follow redirections (as without it), take them as responses, or fail. */
  redirect?: "follow" | "manual" | "error";
  /** Longest duration in milliseconds; the server's own limit stays in force. */
  timeoutMillis?: number;
}

/** The headers of a request or a response, as in browsers. */
export class Headers {
  constructor(init?: HeadersInit);
  append(name: string, value: string): void;
  delete(name: string): void;
  /** All values of a header, with commas between them; null if there is none. */
  get(name: string): string | null;
  getSetCookie(): string[];
  has(name: string): boolean;
  set(name: string, value: string): void;
  forEach(run: (value: string, name: string, headers: Headers) => void, self?: unknown): void;
  entries(): IterableIterator<[string, string]>;
  keys(): IterableIterator<string>;
  values(): IterableIterator<string>;
  [Symbol.iterator](): IterableIterator<[string, string]>;
}

/** A response, as in browsers. It has no stream: its body was read when the request was made. */
export class Response {
  constructor(body?: Body | null, init?: { status?: number; statusText?: string; headers?: HeadersInit });
  /** Makes a response with JSON. */
  static json(value: unknown, init?: { status?: number; statusText?: string; headers?: HeadersInit }): Response;
  readonly status: number;
  /** Empty for responses of servers. */
  readonly statusText: string;
  /** True if the status is from 200 to 299. */
  readonly ok: boolean;
  /** The URL that answered, which redirections may have changed. */
  readonly url: string;
  readonly type: "basic" | "default";
  readonly headers: Headers;
  readonly bodyUsed: boolean;
  /** The body as text; what is not UTF-8 becomes U+FFFD. */
  text(): Promise<string>;
  json(): Promise<any>;
  bytes(): Promise<Uint8Array>;
  arrayBuffer(): Promise<ArrayBuffer>;
  clone(): Response;
}

/**
 * Makes a request, which the function's permissions must list in `allow_network`. The call waits for the
 * response. Without one, the promise is rejected with a ReplyError whose code is NOPERM, INVALID, LIMIT,
 * ADDRESS, DNS, CONNECT, TLS, TIMEOUT, REDIRECT, PROTOCOL or UNAVAILABLE. It is also a global object.
 */
export function fetch(url: string | { toString(): string }, init?: RequestInit): Promise<Response>;

/**
 * Makes a request a part of what the call commits, and returns its idempotency key.
 *
 * If the call commits, the host sends the request afterwards, and again until the server accepts it by a
 * status from 200 to 299. It may arrive more than once, each time with the same header `idempotency-key`:
 * the one that the request has, or a random one. Nothing is sent for a call that fails. Throws a ReplyError
 * whose code is NOPERM, INVALID, LIMIT or UNAVAILABLE.
 */
export function afterCommit(url: string | { toString(): string }, init?: RequestInit): string;

/** Writes a line to the server's log, as `console.log` does. */
export function log(text: string): void;

/**
 * An error reply. Thrown or returned by an entry, its message is the reply, and what the entry wrote is
 * kept. A message without a code, such as `NOUSER`, gets `ERR`. Any other error that an entry throws
 * ends the call with `TRAP`, and what it wrote is discarded.
 */
export class ReplyError extends Error {
  constructor(message: string);
  readonly code: string;
}

/** What an entry may return. Objects and Maps become maps, Sets arrays, Dates text, nothing `OK`. */
export type Result = unknown;

/** Marks an entry whose keys and arguments are bytes. In others, what is not UTF-8 is refused. */
export function bytes(
  entry: (keys: Uint8Array[], args: Uint8Array[]) => Result,
): (keys: Uint8Array[], args: Uint8Array[]) => Result;

/** The type of a parameter. */
export interface Type<T> {
  /** Its name in messages. */
  name: string;
  /** What messages say of another value. */
  must: string;
  /** Reads a value; undefined if it is none of the type. */
  read(value: string | Uint8Array): T | undefined;
}

/** Text in UTF-8. */
export const text: Type<string>;
/** Bytes. */
export const raw: Type<Uint8Array>;
/** A whole number up to 2**53. */
export const integer: Type<number>;
/** A whole number of 64 bits. */
export const bigint: Type<bigint>;
/** A number. */
export const number: Type<number>;
/** `1`, `0`, `true` or `false`. */
export const boolean: Type<boolean>;
/** JSON, which `check` may check or change: it throws for what is not right. */
export function json<T = unknown>(check?: (value: unknown) => T): Type<T>;

/**
 * An entry with parameters that have names and types, filled from KEYS, then from ARGS. Missing, wrong and
 * left over values are error replies that say which.
 */
export function entry<P extends Record<string, Type<any>>>(
  name: string,
  parameters: P,
  run: (values: { [K in keyof P]: P[K] extends Type<infer T> ? T : never }) => Result,
): (keys: string[], args: string[]) => Result;
