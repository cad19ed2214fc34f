import { afterCommit, config, fetch, Headers, ReplyError, Response, set } from "ferrite-wasm";

export async function ask(keys, args) {
  set(keys[0], "asked");
  const init = { method: "post", body: args[1], headers: new Headers({ "X-A": "b" }), timeoutMillis: 60000 };
  const response = await fetch(args[0], init);
  const copy = response.clone();
  const length = response.headers.get("Content-Length");
  const bytes = new Uint8Array(await copy.arrayBuffer());
  return [response.status, response.ok, response.url, length, await response.text(), bytes];
}

export async function together(keys, args) {
  const responses = await Promise.all(args.map((url) => globalThis.fetch(url)));
  return responses.map((response) => response.status);
}

export async function caught(keys, args) {
  try {
    return (await fetch(args[0])).status;
  } catch (error) {
    return [error instanceof ReplyError, error.code];
  }
}

export async function uncaught(keys, args) {
  set(keys[0], "kept");
  return (await fetch(args[0])).json();
}

export function tell(keys, args) {
  set(keys[0], "told");
  const headers = { "content-type": "application/json", authorization: `Bearer ${config("token")}` };
  return afterCommit(args[0], { method: "POST", body: JSON.stringify({ a: 1 }), headers });
}

export function fails(keys, args) {
  afterCommit(args[0], { method: "POST" });
  null.missing;
}

export async function standard() {
  const made = Response.json({ a: [1] }, { status: 201 });
  return [config("none"), globalThis.Headers === Headers, made.headers.get("content-type"), await made.json()];
}
