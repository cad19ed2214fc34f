// Requests to other servers, in the shape of the standard `fetch` where it can be.

import * as host from "#host";

/** Reads the name of a header, in lower case. */
function headerName(name) {
  const text = `${name}`;
  if (!/^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/.test(text)) throw new TypeError(`${JSON.stringify(text)} is no name of a header`);
  return text.toLowerCase();
}

function headerValue(value) {
  const text = `${value}`.replace(/^[\t\n\r ]+|[\t\n\r ]+$/g, "");
  if (/[\0\r\n]/.test(text)) throw new TypeError("the value of a header has a line break or a zero in it");
  return text;
}

/** The headers of a request or a response. */
export class Headers {
  /** Names and values by turns, in order. */
  #words = [];

  constructor(init) {
    if (init === undefined || init === null) return;
    if (typeof init !== "object") throw new TypeError("headers are an object, a list of pairs, or Headers");
    const pairs = typeof init[Symbol.iterator] === "function" ? init : Object.entries(init);
    for (const pair of pairs) {
      const [name, value, ...rest] = pair;
      if (value === undefined || rest.length) throw new TypeError("a header is a pair of a name and a value");
      this.append(name, value);
    }
  }

  append(name, value) {
    this.#words.push(headerName(name), headerValue(value));
  }
  set(name, value) {
    this.delete(name);
    this.append(name, value);
  }
  delete(name) {
    const unwanted = headerName(name);
    const kept = [];
    for (let i = 0; i < this.#words.length; i += 2) {
      if (this.#words[i] !== unwanted) kept.push(this.#words[i], this.#words[i + 1]);
    }
    this.#words = kept;
  }
  #all(name) {
    const wanted = headerName(name);
    return this.#words.filter((_, i) => i % 2 === 1 && this.#words[i - 1] === wanted);
  }
  get(name) {
    const values = this.#all(name);
    return values.length ? values.join(", ") : null;
  }
  getSetCookie() {
    return this.#all("set-cookie");
  }
  has(name) {
    return this.#all(name).length > 0;
  }
  *entries() {
    for (const name of [...new Set(this.#words.filter((_, i) => i % 2 === 0))].sort()) {
      if (name === "set-cookie") for (const value of this.getSetCookie()) yield [name, value];
      else yield [name, this.get(name)];
    }
  }
  *keys() {
    for (const [name] of this) yield name;
  }
  *values() {
    for (const [, value] of this) yield value;
  }
  forEach(run, self) {
    for (const [name, value] of this) run.call(self, value, name, this);
  }
  [Symbol.iterator]() {
    return this.entries();
  }
  get [Symbol.toStringTag]() {
    return "Headers";
  }
}

/** The bytes of a body, or its text. */
function bodyOf(body) {
  if (body === undefined || body === null) return "";
  if (typeof body === "string" || body instanceof Uint8Array) return body;
  if (body instanceof ArrayBuffer) return new Uint8Array(body);
  if (ArrayBuffer.isView(body)) return new Uint8Array(body.buffer, body.byteOffset, body.byteLength);
  throw new TypeError("a body is a string, an ArrayBuffer or a view of one; JSON.stringify makes a string of an object");
}

/** Makes the response of a request: its status, its URL, its body, names and values of its headers. */
let answered;

/** A response. */
export class Response {
  #status;
  #statusText;
  #url = "";
  #headers;
  #body;
  #bodyUsed = false;

  static {
    answered = (status, url, body, words) => {
      const response = new Response(body);
      response.#status = status;
      response.#url = url;
      response.#headers = new Headers();
      for (let i = 0; i < words.length; i += 2) {
        const value = typeof words[i + 1] === "string" ? words[i + 1] : host.decode(words[i + 1], false);
        response.#headers.append(words[i], value);
      }
      return response;
    };
  }

  constructor(body, init = {}) {
    const status = init.status ?? 200;
    if (!Number.isInteger(status) || status < 200 || status > 599) {
      throw new RangeError(`the status of a response is a whole number from 200 to 599, not ${status}`);
    }
    this.#status = status;
    this.#statusText = `${init.statusText ?? ""}`;
    this.#headers = new Headers(init.headers);
    this.#body = bodyOf(body);
    if (typeof body === "string" && !this.#headers.has("content-type")) {
      this.#headers.append("content-type", "text/plain;charset=UTF-8");
    }
  }

  static json(value, init = {}) {
    const headers = new Headers(init.headers);
    if (!headers.has("content-type")) headers.append("content-type", "application/json");
    return new Response(JSON.stringify(value), { ...init, headers });
  }

  get status() {
    return this.#status;
  }
  get statusText() {
    return this.#statusText;
  }
  get ok() {
    return this.#status >= 200 && this.#status < 300;
  }
  get url() {
    return this.#url;
  }
  get type() {
    return this.#url ? "basic" : "default";
  }
  get headers() {
    return this.#headers;
  }
  get bodyUsed() {
    return this.#bodyUsed;
  }

  /** The body as text or bytes; it can be read once. */
  #read() {
    if (this.#bodyUsed) throw new TypeError("the body of this response was read already");
    this.#bodyUsed = true;
    return this.#body;
  }
  async text() {
    const body = this.#read();
    const text = typeof body === "string" ? body : host.decode(body, false);
    return text.charCodeAt(0) === 0xfeff ? text.slice(1) : text;
  }
  async json() {
    return JSON.parse(await this.text());
  }
  async bytes() {
    const body = this.#read();
    return typeof body === "string" ? host.encode(body) : new Uint8Array(body);
  }
  async arrayBuffer() {
    return (await this.bytes()).buffer;
  }
  clone() {
    if (this.#bodyUsed) throw new TypeError("the body of this response was read already");
    const copy = new Response(this.#body, { statusText: this.#statusText, headers: this.#headers });
    copy.#status = this.#status;
    copy.#url = this.#url;
    return copy;
  }
  get [Symbol.toStringTag]() {
    return "Response";
  }
}

/** A request as the host reads it: method, URL, body, then names and values. */
function words(input, init = {}) {
  const method = `${init.method ?? "GET"}`.toUpperCase();
  const given = init.body !== undefined && init.body !== null;
  if (given && (method === "GET" || method === "HEAD")) throw new TypeError(`a request by ${method} has no body`);
  const headers = new Headers(init.headers);
  if (typeof init.body === "string" && !headers.has("content-type")) {
    headers.append("content-type", "text/plain;charset=UTF-8");
  }
  const list = [method, `${input}`, bodyOf(init.body), ...[...headers].flat()];
  const redirect = init.redirect ?? "follow";
  if (!["follow", "manual", "error"].includes(redirect)) {
    throw new TypeError(`redirect is "follow", "manual" or "error", not ${JSON.stringify(redirect)}`);
  }
  if (redirect !== "follow") list.push(":redirects", "0");
  if (init.timeoutMillis !== undefined) {
    if (!Number.isInteger(init.timeoutMillis) || init.timeoutMillis < 1) {
      throw new RangeError(`timeoutMillis is a whole number from 1, not ${init.timeoutMillis}`);
    }
    list.push(":timeout", `${init.timeoutMillis}`);
  }
  return list;
}

/** Makes a request. The call waits for the response; the promise is settled when this returns. */
export async function fetch(input, init) {
  const list = words(input, init);
  const [status, url, body, ...headers] = host.http(...list);
  const redirects = status > 300 && status < 400 && status !== 304;
  if (init?.redirect === "error" && redirects) throw new TypeError(`${list[1]} redirects, with the status ${status}`);
  return answered(status, url, body, headers);
}

/** Makes a request a part of what the call commits; returns its idempotency key. */
export function afterCommit(input, init) {
  return host.afterCommit(...words(input, init));
}
