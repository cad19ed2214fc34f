// A store in memory, for tests of compiled functions without a server.
//
//   import { Store } from "@ferrite/wasm-sdk/mock";
//
//   const store = new Store();
//   const module = store.load(readFileSync("build/functions.wasm"));
//   assert.deepEqual(module.call("rate_limit", ["ratelimit:api:1"], ["100", "60"]), true);
//
// A reply is null, a boolean, a number (a bigint beyond 2^53), a string, an array, a Map, or one of
// the objects { simple }, { error } and { bytes } (a string that is not UTF-8). It knows the usual
// commands on strings, hashes, lists, sets and sorted sets. Its clock stands still until `advance`
// moves it. It has no permissions and no limits.

import { Keyspace } from "./keyspace.mjs";

const STATUS = { notFound: -1, notStored: -2, wrongType: -18, invalid: -19 };
const SET = { nx: 1, xx: 2, keepTtl: 4 };
const LEVELS = ["trace", "debug", "info", "warn", "error"];

const encoder = new TextEncoder();
const strict = new TextDecoder("utf-8", { fatal: true });

/** Bytes as the keyspace stores them: one character each. */
function latin(bytes) {
  return Buffer.from(bytes).toString("latin1");
}

function unlatin(text) {
  return Buffer.from(text, "latin1");
}

/** Bytes as callers see them: text if they are UTF-8. */
function shown(bytes) {
  try {
    return strict.decode(bytes);
  } catch {
    return { bytes: Buffer.from(bytes) };
  }
}

function toBytes(value) {
  return typeof value === "string" ? encoder.encode(value) : value;
}

/** A trap of a function: its writes were undone. */
export class Trap extends Error {}

/** A store in memory. */
export class Store {
  constructor() {
    this.keyspace = new Keyspace(1_700_000_000_000);
    /** The logged lines, oldest first: `{ level, text }`. */
    this.log = [];
    /** The requests to other servers, oldest first: `{ method, url, body }`. */
    this.requests = [];
    this.responses = new Map();
    /** The requests that functions have added to their calls, oldest first: `{ method, url, body }`. */
    this.afterCommit = [];
    /** The configuration of the functions: values by name. */
    this.config = {};
  }

  /** Answers every request with this method and URL from now on. Requests without an answer fail. */
  respond(method, url, status, body) {
    this.responses.set(`${method} ${url}`, { status, body });
  }

  /** Loads a module. Its functions work on this store. */
  load(wasm) {
    return new Module(this, new WebAssembly.Module(wasm));
  }

  /** Runs a command, to prepare or inspect data; returns its reply as callers see it. */
  command(...argv) {
    return decode(unlatin(encode(this.keyspace.run(argv.map((it) => latin(toBytes(String(it))))))));
  }

  /** Moves the clock; removes expired keys. */
  advance(millis) {
    this.keyspace.now += millis;
  }
}

class Module {
  constructor(store, module) {
    this.store = store;
    this.module = module;
  }

  /** Calls a function with keys and arguments; returns its reply. Each call has its instance. */
  call(name, keys = [], args = []) {
    const call = new Call(this.store, keys.map(toBytes), args.map(toBytes));
    const before = this.store.keyspace.copy();
    try {
      const instance = new WebAssembly.Instance(this.module, call.imports());
      call.memory = instance.exports.memory;
      instance.exports._initialize?.();
      instance.exports[name]();
    } catch (error) {
      this.store.keyspace = before;
      const reason = this.store.log.filter(({ level }) => level === "error").at(-1)?.text;
      throw new Trap(reason ?? error.message, { cause: error });
    }
    this.store.afterCommit.push(...call.added);
    return call.reply();
  }
}

/** One call: its input, its reply, and the last result that was longer than its buffer. */
class Call {
  constructor(store, keys, args) {
    this.store = store;
    this.keys = keys;
    this.args = args;
    this.replies = [];
    this.long = Buffer.alloc(0);
    this.added = [];
  }

  bytes(pointer, len) {
    return new Uint8Array(this.memory.buffer, pointer >>> 0, len >>> 0);
  }

  text(pointer, len) {
    return latin(this.bytes(pointer, len));
  }

  pairs(pointer, count) {
    const view = new DataView(this.memory.buffer);
    return Array.from({ length: count }, (_, i) =>
      this.text(view.getUint32(pointer + i * 8, true), view.getUint32(pointer + i * 8 + 4, true)),
    );
  }

  /** Copies as much as fits, keeps a longer result for `take`, and returns the full length. */
  fill(pointer, capacity, bytes) {
    if (bytes === null || bytes === undefined) return STATUS.notFound;
    this.bytes(pointer, Math.min(capacity, bytes.length)).set(bytes.subarray(0, capacity));
    if (bytes.length > capacity) this.long = Buffer.from(bytes);
    return bytes.length;
  }

  run(...argv) {
    return this.store.keyspace.run(argv);
  }

  /** Returns a command's integer, or the status of its error. */
  count(...argv) {
    const reply = this.run(...argv);
    if (!reply?.error) return reply;
    return reply.error.startsWith("WRONGTYPE") ? STATUS.wrongType : STATUS.invalid;
  }

  /** Fills a command's string into a buffer. */
  string(pointer, capacity, ...argv) {
    const reply = this.run(...argv);
    if (reply?.error) return STATUS.wrongType;
    return this.fill(pointer, capacity, reply === null ? null : unlatin(reply));
  }

  reply() {
    const next = () => {
      if (this.replies.length === 0) throw new Error("the function gave too few replies");
      const reply = this.replies.shift();
      if (reply?.array !== undefined) return Array.from({ length: reply.array }, next);
      if (reply?.map !== undefined) {
        return new Map(Array.from({ length: reply.map }, () => [next(), next()]));
      }
      return reply;
    };
    const reply = next();
    if (this.replies.length > 0) throw new Error("the function gave too many replies");
    return reply;
  }

  imports() {
    const push = (reply) => void this.replies.push(reply);
    const line = (pointer, len) => this.plain(pointer, len).replace(/[\r\n]/g, " ");
    const ferrite = {
      key_count: () => this.keys.length,
      arg_count: () => this.args.length,
      key: (index, buf, cap) => this.fill(buf, cap, this.keys[index]),
      arg: (index, buf, cap) => this.fill(buf, cap, this.args[index]),
      reply_null: () => push(null),
      reply_bool: (value) => push(value !== 0),
      reply_int: (value) => push(number(value)),
      reply_double: (value) => push(value),
      reply_bulk: (ptr, len) => push(shown(this.bytes(ptr, len))),
      reply_simple: (ptr, len) => push({ simple: line(ptr, len) }),
      reply_error: (ptr, len) => push({ error: line(ptr, len) }),
      reply_array: (n) => push({ array: n }),
      reply_map: (n) => push({ map: n }),
      get: (key, klen, buf, cap) => this.string(buf, cap, "GET", this.text(key, klen)),
      set: (key, klen, val, vlen, options, ttl) => this.set(key, klen, val, vlen, options, Number(ttl)),
      del: (pairs, count) => (count === 0 ? 0 : this.count("DEL", ...this.pairs(pairs, count))),
      exists: (pairs, count) => (count === 0 ? 0 : this.count("EXISTS", ...this.pairs(pairs, count))),
      incr_by: (key, klen, delta, out) => {
        const sum = this.count("INCRBY", this.text(key, klen), String(delta));
        if (typeof sum === "number") return sum;
        new DataView(this.memory.buffer).setBigInt64(out, sum, true);
        return 0;
      },
      expire: (key, klen, ttl) => Number(this.count("PEXPIRE", this.text(key, klen), String(ttl))),
      ttl: (key, klen) => this.count("PTTL", this.text(key, klen)),
      hget: (key, klen, field, flen, buf, cap) =>
        this.string(buf, cap, "HGET", this.text(key, klen), this.text(field, flen)),
      hset: (key, klen, field, flen, val, vlen) =>
        Number(this.count("HSET", this.text(key, klen), this.text(field, flen), this.text(val, vlen))),
      hdel: (key, klen, pairs, count) =>
        count === 0 ? 0 : Number(this.count("HDEL", this.text(key, klen), ...this.pairs(pairs, count))),
      call: (cmd, cmdlen, args, argslen, buf, cap) => {
        const list = decode(Buffer.from(this.bytes(args, argslen)), latin);
        const reply = this.run(this.text(cmd, cmdlen), ...list);
        return this.fill(buf, cap, unlatin(encode(reply)));
      },
      http: (request, len, buf, cap) => {
        const [method, url, body] = decode(Buffer.from(this.bytes(request, len)), latin);
        this.store.requests.push({ method, url, body: shown(unlatin(body)) });
        const response = this.store.responses.get(`${method} ${url}`);
        const reply = response
          ? [BigInt(response.status), url, latin(toBytes(response.body))]
          : { error: `CONNECT the test has no response for ${method} ${url}; prepare one with respond` };
        return this.fill(buf, cap, unlatin(encode(reply)));
      },
      after_commit: (request, len, buf, cap) => {
        const [method, url, body, ...headers] = decode(Buffer.from(this.bytes(request, len)), latin);
        this.added.push({ method, url, body: shown(unlatin(body)) });
        const number = String(this.store.afterCommit.length + this.added.length).padStart(12, "0");
        const at = headers.findIndex((it, i) => i % 2 === 0 && it.toLowerCase() === "idempotency-key");
        const key = at < 0 ? `00000000-0000-4000-8000-${number}` : headers[at + 1];
        return this.fill(buf, cap, unlatin(encode(key)));
      },
      config: (name, nlen, buf, cap) => {
        const value = this.store.config[this.plain(name, nlen)];
        return value === undefined ? STATUS.notFound : this.fill(buf, cap, Buffer.from(toBytes(value)));
      },
      take: (buf, offset, len) => {
        const part = this.long.subarray(offset, offset + len);
        this.bytes(buf, part.length).set(part);
        return part.length;
      },
      log: (level, ptr, len) => void this.store.log.push({ level: LEVELS[level], text: this.plain(ptr, len) }),
      time_millis: () => BigInt(this.store.keyspace.now),
      // The same bytes in every run: 1, 2, 3, …
      random: (buf, len) => void this.bytes(buf, len).forEach((_, i, all) => (all[i] = i + 1)),
    };
    for (const name of ["del", "exists"]) {
      const count = ferrite[name];
      ferrite[name] = (pairs, n) => Number(count(pairs, n));
    }
    return { ferrite };
  }

  plain(pointer, len) {
    return Buffer.from(this.bytes(pointer, len)).toString("utf8");
  }

  set(key, klen, val, vlen, options, ttl) {
    const argv = ["SET", this.text(key, klen), this.text(val, vlen)];
    if (options & SET.nx) argv.push("NX");
    if (options & SET.xx) argv.push("XX");
    if (options & SET.keepTtl) argv.push("KEEPTTL");
    if (ttl >= 0) argv.push("PX", String(ttl));
    const reply = this.run(...argv);
    if (reply === null) return STATUS.notStored;
    return reply.error ? STATUS.invalid : 0;
  }
}

/** A bigint as a number if that loses nothing. */
function number(value) {
  return BigInt(Number(value)) === value && Number.isSafeInteger(Number(value)) ? Number(value) : value;
}

/** A keyspace's reply in RESP2, one character for each byte. */
function encode(reply) {
  if (reply === null) return "$-1\r\n";
  if (typeof reply === "bigint") return `:${reply}\r\n`;
  if (typeof reply === "string") return `$${reply.length}\r\n${reply}\r\n`;
  if (Array.isArray(reply)) return `*${reply.length}\r\n${reply.map(encode).join("")}`;
  return reply.error ? `-${reply.error}\r\n` : `+${reply.simple}\r\n`;
}

/** A reply in RESP2 as callers see it. */
function decode(bytes, string = shown) {
  let at = 0;
  const read = () => {
    const end = bytes.indexOf("\r\n", at);
    const head = String.fromCharCode(bytes[at]);
    const rest = bytes.toString("utf8", at + 1, end);
    at = end + 2;
    switch (head) {
      case "+":
        return { simple: rest };
      case "-":
        return { error: rest };
      case ":":
        return number(BigInt(rest));
      case "*":
        return Array.from({ length: Number(rest) }, read);
      default: {
        if (rest === "-1") return null;
        const bulk = bytes.subarray(at, at + Number(rest));
        at += Number(rest) + 2;
        return string(bulk);
      }
    }
  };
  return read();
}
