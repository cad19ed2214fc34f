// Functions that use every part of the package, for its tests.

import { ferrite, Json, Level, Reply, reply, replyArray, SetOptions, Value } from "@ferrite/wasm-sdk";

export function types(text: string, small: i8, big: u64, ratio: f64, yes: bool, bytes: ArrayBuffer): Everything {
  const it = new Everything();
  it.text = text;
  it.small = small;
  it.big = big;
  it.ratio = ratio;
  it.yes = yes;
  it.bytes = bytes;
  return it;
}

class Everything extends Reply {
  text: string = "";
  small: i8 = 0;
  big: u64 = 0;
  ratio: f64 = 0;
  yes: bool = false;
  bytes: ArrayBuffer = new ArrayBuffer(0);

  write(): void {
    replyArray(6);
    reply(this.text);
    reply(this.small);
    reply(this.big);
    reply(this.ratio);
    reply(this.yes);
    reply(this.bytes);
  }
}

export function maybe(first: string, second: string | null): string | null {
  return second === null ? null : `${first}+${second}`;
}

export function rest(numbers: i32[]): Map<string, i32> {
  const map = new Map<string, i32>();
  for (let i = 0; i < numbers.length; i++) map.set(`n${i}`, numbers[i]);
  return map;
}

export function nested(): string[][] {
  return [["a", "b"], [], ["ü"]];
}

export function nothing(): void {
  ferrite.log(Level.Warn, "nothing to do");
}

export function thrown(text: string): void {
  ferrite.set("written", "before");
  throw new Error(text);
}

export function outside(index: i32): i32 {
  const list: i32[] = [1, 2, 3];
  return list[index];
}

export function store(key: string): Value {
  const lock = new SetOptions();
  lock.ifAbsent = true;
  lock.ttlMillis = 1500;
  assert(ferrite.set(key, "7", lock));
  assert(!ferrite.set(key, "8", lock));
  assert(ferrite.ttl(key) == 1500);
  assert(ferrite.incrBy(key, -3) == 4);
  assert(ferrite.exists(key));
  assert(ferrite.del(key));
  assert(ferrite.get(key) === null);
  assert(ferrite.ttl(key) == -2);
  const long = "x".repeat(1000);
  assert(ferrite.hset(key, "f", long));
  assert(!ferrite.hset(key, "f", long));
  assert(ferrite.hget(key, "f") == long);
  assert(ferrite.hget(key, "g") === null);
  const all = ferrite.hgetall(key);
  assert(all !== null && all.get("f") == long);
  assert(ferrite.hdel(key, "f"));
  assert(ferrite.hgetall(key) === null);
  assert(ferrite.random(3).byteLength == 3);
  assert(ferrite.timeMillis() == 1700000000000);
  ferrite.set("a", "1");
  ferrite.set("b", "2");
  assert(ferrite.delMany(["a", "nothing"]) == 1);
  return ferrite.call("KEYS", ["*"]);
}

export function afterwards(key: string): i64 {
  // The first error stands: nothing after it reaches the store.
  const count = ferrite.incr(key);
  ferrite.set("later", "written");
  return count;
}

export function json(text: string): string {
  const value = Json.parse(text);
  if (value === null) return "no JSON";
  const name = value.string("name");
  return name === null ? "no name" : `${name} ${value.number("age")} ${value.bool("member")}`;
}

export function integer(n: i64): i64 {
  return n;
}

export function unsigned(n: u64): u64 {
  return n;
}

export function float(n: f64): f64 {
  return n;
}

export function single(n: f32): f64 {
  return n;
}

export function library(): string {
  console.log("log");
  console.debug("debug");
  console.info("info");
  console.warn("warn");
  console.error("error");
  console.assert(true, "holds");
  console.assert(false, "does not hold");
  trace("trace", 2, 1, 2.5);
  const bytes = new Uint8Array(4);
  crypto.getRandomValues(bytes);
  assert(bytes[0] == 1 && bytes[3] == 4);
  const random = Math.random();
  assert(random >= 0 && random < 1 && random != Math.random());
  assert(<f64>Date.now() == performance.now());
  return new Date(Date.now()).toISOString();
}

export function half(text: string): string[] {
  const first = text.substring(0, 1);
  ferrite.set("half", first);
  ferrite.hset("hash", first, first);
  ferrite.call("SET", ["called", first]);
  ferrite.log(Level.Info, first);
  return [first, ferrite.get("half")!, ferrite.hget("hash", first)!, ferrite.get("called")!];
}

export function request(url: string): string[] {
  const request = new ferrite.Request(url);
  request.method = "POST";
  request.body = "ü";
  request.headers.set("accept", "text/plain");
  request.timeoutMillis = 100;
  const response = ferrite.fetch(request);
  return [response.status.toString(), response.text, response.url, response.failure, response.ok.toString()];
}

export function later(url: string, key: string): string[] {
  const request = new ferrite.Request(url);
  request.method = "POST";
  request.body = "ü";
  if (key != "") request.headers.set("Idempotency-Key", key);
  const token = ferrite.config("token");
  return [ferrite.afterCommit(request), token === null ? "none" : token];
}

// @ts-ignore: decorator
@on(["user:*", "a b"], ["set", "del"], "before")
@cron("0 3 * * *", "k", ["x", "ARGS"], "once")
export function paged(pattern: string): string[] {
  const found = new Array<string>();
  const keys = ferrite.scanKeys(pattern);
  for (let key = keys.next(); key !== null; key = keys.next()) found.push(key);
  return found.concat([keys.next() === null ? "end" : "more"]);
}
