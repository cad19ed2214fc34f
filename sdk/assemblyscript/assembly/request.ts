// Requests to other servers.

import { Value } from "./value";

/** A request to another server. */
export class Request {
  method: string = "GET";
  body: string = "";
  headers: Map<string, string> = new Map<string, string>();
  /** Longest duration in milliseconds; 0 sets no limit beside the server's. */
  timeoutMillis: i32 = 0;
  /** Makes redirections responses like others. */
  noRedirects: bool = false;

  constructor(public url: string) {}
}

/** The response of another server, or the reason why there is none. */
export class Response {
  private constructor(
    /** The status, such as 200; 0 if there is no response. */
    public readonly status: i32,
    /** The reason why there is no response, such as "TIMEOUT no response within 500 ms"; else empty. */
    public readonly failure: string,
    private readonly items: Array<Value>,
  ) {}

  /** True if the status is from 200 to 299. */
  get ok(): bool {
    return this.status >= 200 && this.status < 300;
  }

  /** The URL that answered, which redirections may have changed. */
  get url(): string {
    return this.items.length > 1 ? this.items[1].text : "";
  }

  /** The body as text. A body that is not UTF-8 fails the call. */
  get text(): string {
    return this.items.length > 2 ? this.items[2].text : "";
  }

  /** The body's bytes. */
  get bytes(): ArrayBuffer {
    return this.items.length > 2 ? this.items[2].bytes : new ArrayBuffer(0);
  }

  /** Returns the first value of a header, whose name is given in lower case; null if there is none. */
  header(name: string): string | null {
    for (let i = 3; i + 1 < this.items.length; i += 2) {
      if (this.items[i].text == name) return this.items[i + 1].text;
    }
    return null;
  }

  /** No response. */
  static none(failure: string): Response {
    return new Response(0, failure, []);
  }

  /** Makes a response of the elements that the host answers. */
  static of(items: Array<Value>): Response {
    return new Response(<i32>items[0].integer, "", items);
  }
}
