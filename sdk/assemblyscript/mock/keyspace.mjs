// The mock's data. Strings hold one byte a character.
//
// A reply is null, a bigint, a string, an array, { simple } or { error }.

import { hashes } from "./commands/hashes.mjs";
import { keys } from "./commands/keys.mjs";
import { lists } from "./commands/lists.mjs";
import { sets } from "./commands/sets.mjs";
import { sortedSets } from "./commands/sorted_sets.mjs";
import { strings } from "./commands/strings.mjs";
import { matches } from "./glob.mjs";
import { byBytes, CommandError, fail, flag, WRONG_TYPE, wrongCount } from "./values.mjs";

/** Each command by its name: the least and the most arguments, and the function. */
const COMMANDS = new Map(Object.entries({ ...strings, ...keys, ...hashes, ...lists, ...sets, ...sortedSets }));

/** Scores by member. */
class SortedSet extends Map {}

/** The types of values: an empty value, its size, and a copy. */
const TYPES = {
  string: { is: (value) => typeof value === "string" },
  hash: { is: (value) => value instanceof Map && !(value instanceof SortedSet), make: () => new Map() },
  list: { is: Array.isArray, make: () => [] },
  set: { is: (value) => value instanceof Set, make: () => new Set() },
  zset: { is: (value) => value instanceof SortedSet, make: () => new SortedSet() },
};

function typeName(value) {
  return Object.keys(TYPES).find((name) => TYPES[name].is(value));
}

function copied(value) {
  if (typeof value === "string") return value;
  return Array.isArray(value) ? [...value] : new value.constructor(value);
}

/** Typed values by key, with expiry. */
export class Keyspace {
  constructor(now) {
    this.now = now;
    this.items = new Map();
  }

  /** A copy, to restore if a call is undone. */
  copy() {
    const copy = new Keyspace(this.now);
    for (const [key, { value, expiresAt }] of this.items) {
      copy.items.set(key, { value: copied(value), expiresAt });
    }
    return copy;
  }

  /** Runs a command. */
  run(argv) {
    const [name, ...args] = argv;
    const command = COMMANDS.get(name.toUpperCase());
    if (!command) return { error: `ERR the mock store does not know '${name}'; test this with \`ferrite-wasmc run\`` };
    const [least, most, run] = command;
    try {
      if (args.length < least || args.length > most) wrongCount(name);
      return run(this, ...args);
    } catch (error) {
      if (error instanceof CommandError) return { error: error.message };
      throw error;
    }
  }

  item(key) {
    const item = this.items.get(key);
    if (item && item.expiresAt <= this.now) {
      this.items.delete(key);
      return undefined;
    }
    return item;
  }

  /** The value of a type at a key; undefined if there is none. */
  value(key, type) {
    const value = this.item(key)?.value;
    if (value !== undefined && !TYPES[type].is(value)) fail(WRONG_TYPE);
    return value;
  }

  string(key) {
    return this.value(key, "string") ?? null;
  }

  /** A collection to read; an empty one if there is none. */
  view(key, type) {
    return this.value(key, type) ?? TYPES[type].make();
  }

  /** Changes a collection. Makes it if there is none, and deletes it if it ends empty. */
  edit(key, type, change) {
    const value = this.view(key, type);
    const result = change(value);
    if ((value.size ?? value.length) === 0) this.items.delete(key);
    else if (!this.items.has(key)) this.items.set(key, { value, expiresAt: Infinity });
    return result;
  }

  /** Replaces a value of any type, without expiry; an empty collection deletes the key. */
  replace(key, value) {
    if (value.size === 0) this.items.delete(key);
    else this.items.set(key, { value, expiresAt: Infinity });
  }

  /** Writes a string and keeps its expiry. */
  write(key, value) {
    this.items.set(key, { value, expiresAt: this.item(key)?.expiresAt ?? Infinity });
  }

  type(key) {
    const item = this.item(key);
    return item ? typeName(item.value) : "none";
  }

  expire(key, millis) {
    const item = this.item(key);
    if (item && millis <= 0) this.items.delete(key);
    else if (item) item.expiresAt = this.now + millis;
    return flag(item);
  }

  ttl(key) {
    const item = this.item(key);
    if (!item) return -2;
    return item.expiresAt === Infinity ? -1 : item.expiresAt - this.now;
  }

  keys(pattern = "*") {
    return [...this.items.keys()].filter((key) => this.item(key) && matches(pattern, key)).sort(byBytes);
  }
}

