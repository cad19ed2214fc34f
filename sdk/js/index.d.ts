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
/** Runs any command. Its error is thrown as a ReplyError. */
export function call(command: string, ...args: Value[]): Reply;

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
