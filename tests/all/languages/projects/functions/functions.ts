// Functions that read numbers, print, and fail.
import { ferrite } from "@ferrite/wasm-sdk";
export function integer(n: i64): i64 {
  return n;
}

export function float(n: f64): f64 {
  return n;
}

export function print(text: string): void {
  console.log("printed " + text);
}

export function fail(text: string): i64 {
  throw new Error("on purpose: " + text);
}

function deeper(n: i64): i64 {
  return n == 0 ? 0 : deeper(n + 1) + n;
}

export function overflow(): i64 {
  return deeper(1);
}

export function half(text: string): string {
  return text.substring(0, 1);
}

export function library(): bool {
  trace("here", 1, 1.5);
  return Math.random() < 1 && Date.now() > 1_600_000_000_000;
}

export function ask(url: string): string[] {
  const request = new ferrite.Request(url);
  request.method = "POST";
  request.body = "body";
  request.headers.set("X-A", "b");
  request.timeoutMillis = 60000;
  const response = ferrite.fetch(request);
  if (response.failure != "") return ferrite.fail<string[]>(response.failure);
  const length = response.header("content-length");
  return [response.status.toString(), response.text, length === null ? "none" : length, response.url];
}

export function tell(url: string): string[] {
  const request = new ferrite.Request(url);
  request.method = "POST";
  request.body = "later";
  const token = ferrite.config("token");
  const other = ferrite.config("other");
  return [ferrite.afterCommit(request), token === null ? "none" : token, other === null ? "none" : other];
}

export function keys(pattern: string): i64 {
  let count: i64 = 0;
  const found = ferrite.scanKeys(pattern);
  for (let key = found.next(); key !== null; key = found.next()) {
    if (ferrite.get(key) !== null) count++;
  }
  return count;
}

// @ts-ignore: decorator
@on(["a b", "order:*"], ["set", "del"])
@every("365d")
@cron("0 3 1 1 *", "k", ["x", "y z"], "once")
export function watched(values: string[]): void {}
