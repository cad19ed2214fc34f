// Commands on sorted sets.

import { byBytes, count, fail, float, floatText, integer, range, syntaxError } from "../values.mjs";

/** Members and scores in the order of the set. */
function ranked(set) {
  return [...set].sort(([left, a], [right, b]) => (a === b ? byBytes(left, right) : a < b ? -1 : 1));
}

const view = (run) => (store, key, ...args) => run(store.view(key, "zset"), ...args);
const edit = (run) => (store, key, ...args) => store.edit(key, "zset", (set) => run(set, ...args));

function add(store, key, ...args) {
  const given = new Set();
  while (args.length > 0 && ["NX", "XX", "GT", "LT", "CH", "INCR"].includes(args[0].toUpperCase())) {
    given.add(args.shift().toUpperCase());
  }
  if (args.length === 0 || args.length % 2 !== 0) syntaxError();
  if (given.has("NX") && given.has("XX")) {
    fail("ERR XX and NX options at the same time are not compatible");
  }
  if ((given.has("NX") && (given.has("GT") || given.has("LT"))) || (given.has("GT") && given.has("LT"))) {
    fail("ERR GT, LT, and/or NX options at the same time are not compatible");
  }
  if (given.has("INCR") && args.length > 2) fail("ERR INCR option supports a single increment-element pair");
  const pairs = [];
  for (let i = 0; i < args.length; i += 2) pairs.push([float(args[i]), args[i + 1]]);
  return store.edit(key, "zset", (set) => {
    let [added, changed, incremented] = [0, 0, null];
    for (const [number, member] of pairs) {
      const old = set.get(member);
      const score = given.has("INCR") ? (old ?? 0) + number : number;
      if (old === undefined ? given.has("XX") : given.has("NX")) continue;
      if (old !== undefined && ((given.has("GT") && score <= old) || (given.has("LT") && score >= old))) continue;
      if (old === undefined) added++;
      else if (old !== score) changed++;
      set.set(member, score);
      incremented = floatText(score);
    }
    if (given.has("INCR")) return incremented;
    return BigInt(given.has("CH") ? added + changed : added);
  });
}

/** Reads an end of a range of scores; returns a comparison with it. */
function bound(text) {
  const open = text.startsWith("(");
  const at = float(open ? text.slice(1) : text, "ERR min or max is not a float");
  return { at, open };
}

function between(set, min, max) {
  const [low, high] = [bound(min), bound(max)];
  return ranked(set).filter(
    ([, score]) =>
      (low.open ? score > low.at : score >= low.at) && (high.open ? score < high.at : score <= high.at),
  );
}

function replied(found, withScores) {
  return found.flatMap(([member, score]) => (withScores ? [member, floatText(score)] : [member]));
}

function query(set, start, stop, options, byScore, reverse) {
  let [withScores, limit] = [false, null];
  while (options.length > 0) {
    const option = options.shift().toUpperCase();
    if (option === "WITHSCORES") withScores = true;
    else if (option === "BYSCORE") byScore = true;
    else if (option === "REV") reverse = true;
    else if (option === "LIMIT" && options.length >= 2) limit = [options.shift(), options.shift()].map(integerNumber);
    else syntaxError();
  }
  if (limit && !byScore) {
    fail("ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX");
  }
  let found = byScore ? between(set, ...(reverse ? [stop, start] : [start, stop])) : ranked(set);
  if (reverse) found.reverse();
  if (!byScore) found = found.slice(...range(start, stop, found.length));
  // A negative count is no limit.
  if (limit) found = limit[0] < 0 ? [] : found.slice(limit[0], limit[1] < 0 ? undefined : limit[0] + limit[1]);
  return replied(found, withScores);
}

function integerNumber(text) {
  return Number(integer(text));
}

const queried = (byScore, reverse) =>
  view((set, start, stop, ...options) => query(set, start, stop, options, byScore, reverse));

const rank = (reverse) =>
  view((set, member) => {
    const all = ranked(set);
    if (reverse) all.reverse();
    const at = all.findIndex(([other]) => other === member);
    return at < 0 ? null : BigInt(at);
  });

const pop = (max) =>
  edit((set, wanted) => {
    const all = ranked(set);
    if (max) all.reverse();
    const popped = all.slice(0, wanted === undefined ? 1 : count(wanted));
    for (const [member] of popped) set.delete(member);
    return replied(popped, true);
  });

function removeAll(set, found) {
  for (const [member] of found) set.delete(member);
  return BigInt(found.length);
}

function score(set, member) {
  return set.has(member) ? floatText(set.get(member)) : null;
}

export const sortedSets = {
  ZADD: [3, Infinity, add],
  ZREM: [2, Infinity, edit((set, ...members) => BigInt(members.filter((member) => set.delete(member)).length))],
  ZCARD: [1, 1, view((set) => BigInt(set.size))],
  ZSCORE: [2, 2, view(score)],
  ZMSCORE: [2, Infinity, view((set, ...members) => members.map((member) => score(set, member)))],
  ZINCRBY: [3, 3, (store, key, delta, member) => add(store, key, "INCR", delta, member)],
  ZRANK: [2, 2, rank(false)],
  ZREVRANK: [2, 2, rank(true)],
  ZRANGE: [3, Infinity, queried(false, false)],
  ZREVRANGE: [3, Infinity, queried(false, true)],
  ZRANGEBYSCORE: [3, Infinity, queried(true, false)],
  ZREVRANGEBYSCORE: [3, Infinity, queried(true, true)],
  ZCOUNT: [3, 3, view((set, min, max) => BigInt(between(set, min, max).length))],
  ZREMRANGEBYSCORE: [3, 3, edit((set, min, max) => removeAll(set, between(set, min, max)))],
  ZREMRANGEBYRANK: [
    3,
    3,
    edit((set, start, stop) => removeAll(set, ranked(set).slice(...range(start, stop, set.size)))),
  ],
  ZPOPMIN: [1, 2, pop(false)],
  ZPOPMAX: [1, 2, pop(true)],
};
