// The SDK. The engine has this file in it as the module `ferrite-wasm`; under Node.js it runs on a store in
// memory. `#host` is what the engine, or that store, implements.

import * as host from "#host";

export { afterCommit, fetch, Headers, Response } from "./fetch.js";

export const {
  get,
  getBytes,
  set,
  del,
  exists,
  incr,
  expire,
  expireMillis,
  ttl,
  hget,
  hgetBytes,
  hdel,
  call,
  config,
} = host;

/** True if a text starts with an error code, such as WRONGTYPE, and has more after it. */
const hasCode = (text) => /^[A-Z][A-Z0-9_]+ [^]/.test(text);

/** An error reply: thrown or returned, its message is the reply. A message without a code gets `ERR`. */
export class ReplyError extends Error {
  constructor(message) {
    super(hasCode(`${message}`) ? `${message}` : `ERR ${message}`);
  }
  get name() {
    return "ReplyError";
  }
  /** The first word of the message. */
  get code() {
    return this.message.slice(0, this.message.indexOf(" "));
  }
}
host.useReplyError(ReplyError);

/** Bytes, or text, as a literal for messages. */
function excerpt(value) {
  const bytes = typeof value === "string" ? host.encode(value) : value;
  let text = "";
  for (const byte of bytes.subarray(0, 32)) {
    if (byte === 0x22 || byte === 0x5c) text += "\\";
    text += byte < 0x20 || byte > 0x7e ? `\\x${byte.toString(16).padStart(2, "0")}` : String.fromCharCode(byte);
  }
  return `"${text}${bytes.length > 32 ? "…" : ""}"`;
}

/** Reads a whole number of 64 bits; undefined if the text is none. */
function parseInteger(text) {
  const parts = typeof text === "string" && /^(-?)0*([0-9]{1,19})$/.exec(text);
  if (!parts) return undefined;
  const number = Number(parts[1] + parts[2]);
  if (Number.isSafeInteger(number)) return number + 0;
  const big = BigInt(parts[1] + parts[2]);
  return BigInt.asIntN(64, big) === big ? big : undefined;
}

/** Reads a string as an integer: a number, or a bigint beyond 2**53. `otherwise` if there is no such key. */
export function getInteger(key, otherwise = 0) {
  const bytes = getBytes(key);
  if (bytes === null) return otherwise;
  const number = parseInteger(host.decode(bytes, true));
  if (number === undefined) {
    throw new ReplyError(`ERR the value of key ${excerpt(key)} must be a 64-bit integer, not ${excerpt(bytes)}`);
  }
  return number;
}

/** Writes a field, or all properties of an object; returns how many fields are new. */
export function hset(key, field, value) {
  if (typeof field !== "object" || field instanceof Uint8Array) return Number(host.hset(key, field, value));
  let added = 0;
  for (const name of Object.keys(field)) added += Number(host.hset(key, name, field[name]));
  return added;
}

/** Reads a whole hash; an empty object if there is no such key. */
export function hgetall(key) {
  const items = call("HGETALL", key);
  const hash = {};
  for (let i = 0; i < items.length; i += 2) {
    Object.defineProperty(hash, items[i], {
      value: items[i + 1],
      writable: true,
      enumerable: true,
      configurable: true,
    });
  }
  return hash;
}

/** Every key that matches a pattern, each once, in order. */
export function scan(pattern) {
  const keys = new Set();
  let cursor = "0";
  do {
    const [next, page] = call("SCAN", cursor, "MATCH", pattern, "COUNT", 1000);
    for (const key of page) keys.add(key);
    cursor = next;
  } while (cursor !== "0");
  return [...keys].sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));
}

/**
 * Goes through the keys that match a pattern, page by page: other calls and commands run in between. The keys come
 * in no order, and one that is there all the time comes at least once. In a cluster these are the keys of the node
 * that runs the call.
 */
export function* scanKeys(pattern) {
  let cursor = "0";
  do {
    const [next, page] = call("SCAN", cursor, "MATCH", pattern, "COUNT", 500);
    yield* page;
    cursor = next;
  } while (cursor !== "0");
}

/** A word of a declaration, in quotes where it needs them. */
function word(value) {
  const text = `${value}`;
  const plain = /^[!#-~][!-~]*$/.test(text) && !/^(KEYS|EVENTS|BEFORE|AFTER|MISSED|ARGS)$/i.test(text);
  return plain ? text : JSON.stringify(text);
}

/** An option of a declaration with its words, of which there may be none. */
const option = (name, words = []) => {
  const list = [words].flat();
  return list.length > 0 ? [name, ...list.map(word)] : [];
};

/**
 * Declares that `entry` runs after events of keys, or before. An element of the export `automation`, by which a
 * host adds it when it loads the module.
 */
export function on(entry, { keys, events, before = false }) {
  const words = ["on", word(entry), ...option("KEYS", keys), ...option("EVENTS", events)];
  return [...words, ...(before ? ["BEFORE"] : [])].join(" ");
}

const timed = (kind, entry, time, { missed, keys, args } = {}) =>
  [kind, word(entry), word(time), ...option("MISSED", missed), ...option("KEYS", keys), ...option("ARGS", args)].join(" ");

/** Declares that `entry` runs again and again after a time, such as `5m`. An element of the export `automation`. */
export const every = (entry, time, options) => timed("every", entry, time, options);

/** Declares that `entry` runs by an expression of cron, in UTC. An element of the export `automation`. */
export const cron = (entry, expression, options) => timed("cron", entry, expression, options);

/** Writes a line to the server's log. */
export function log(text) {
  host.log(2, text);
}

/** Marks an entry whose keys and arguments are Uint8Array. */
export function bytes(entry) {
  return host.mark((keys, args) => entry(keys, args), 1);
}

/** Types of the parameters of `entry`: name, what a value must be, and how it is read (undefined: it is none). */
const isText = (value) => (typeof value === "string" ? value : undefined);
export const text = { name: "text", must: "must be UTF-8 text", read: isText };
export const raw = {
  name: "raw",
  must: "must be bytes",
  read: (value) => (typeof value === "string" ? host.encode(value) : value),
};
export const integer = {
  name: "integer",
  must: "must be a 64-bit integer",
  read(value) {
    const number = parseInteger(value);
    if (typeof number === "bigint") {
      throw new RangeError("is beyond 2**53, which a number cannot hold; declare it as bigint");
    }
    return number;
  },
};
export const bigint = {
  name: "bigint",
  must: "must be a 64-bit integer",
  read(value) {
    const number = parseInteger(value);
    return number === undefined ? undefined : BigInt(number);
  },
};

/** Keeps 30 digits of a number's text, and one more for what follows: the engine reads no more than about 40. */
function shortened(text) {
  const [digits, exponent = ""] = text.split(/(?=[eE])/);
  let kept = 0;
  const short = digits.replace(/[0-9]/g, (digit, at) => {
    if (kept > 0 || digit !== "0") kept++;
    if (kept <= 30) return digit;
    return kept === 31 && /[1-9]/.test(digits.slice(at)) ? "1" : "0";
  });
  return short + exponent;
}

export const number = {
  name: "number",
  must: "must be a number",
  read(value) {
    if (typeof value !== "string") return undefined;
    const infinite = /^([+-]?)inf(inity)?$/i.exec(value);
    if (infinite) return infinite[1] === "-" ? -Infinity : Infinity;
    const digits = /^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$/.exec(value);
    if (!digits) return undefined;
    const read = Number(value.length > 30 ? shortened(value) : value);
    // Too large, or too small although a digit is not 0.
    return Number.isFinite(read) && (read !== 0 || !/[1-9]/.test(digits[1])) ? read : undefined;
  },
};
export const boolean = {
  name: "boolean",
  must: "must be 1, 0, true or false",
  read: (value) =>
    value === "1" || value === "true" ? true : value === "0" || value === "false" ? false : undefined,
};

/** JSON, optionally checked or changed by a function that throws for what is not right. */
export function json(check = (value) => value) {
  return {
    name: "json",
    must: "must be JSON",
    read(value) {
      if (typeof value !== "string") return undefined;
      let parsed;
      try {
        parsed = JSON.parse(value);
      } catch {
        return undefined;
      }
      return check(parsed);
    },
  };
}

const plural = (count, noun) => `${count} ${noun}${count === 1 ? "" : "s"}`;

/**
 * An entry with parameters that have names and types, filled from KEYS, then from ARGS. Missing, wrong and
 * left over values are error replies that say which.
 */
export function entry(name, parameters, run) {
  const names = Object.keys(parameters);
  const types = Object.values(parameters);
  const refuse = (why, keys, args) => {
    const given = `got ${plural(keys.length, "key")} and ${plural(args.length, "argument")}`;
    throw new ReplyError(`ERR ${name}(${names.join(", ")}): ${why}; ${given}`);
  };
  return host.mark((keys, args) => {
    const count = keys.length + args.length;
    const position = (at) => (at < keys.length ? `KEYS[${at + 1}]` : `ARGS[${at - keys.length + 1}]`);
    const values = {};
    for (let at = 0; at < names.length; at++) {
      const type = types[at];
      if (at >= count) refuse(`no value for '${names[at]}' (${type.name})`, keys, args);
      const given = at < keys.length ? keys[at] : args[at - keys.length];
      let value;
      let must = type.must;
      try {
        value = type.read(given);
      } catch (error) {
        if (error instanceof ReplyError) throw error;
        must = `${type.must}: ${error.message}`;
      }
      if (value === undefined) {
        throw new ReplyError(
          `ERR ${name}: '${names[at]}' (${position(at)}, ${type.name}) ${must}, not ${excerpt(given)}`,
        );
      }
      values[names[at]] = value;
    }
    if (names.length < count) refuse(`${position(names.length)} is one too many`, keys, args);
    return run(values);
  }, 2);
}
