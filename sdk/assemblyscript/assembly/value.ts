// The reply of a command.

import { failWith } from "./failure";
import { Float, Integer } from "./number";
import { isUtf8, textOf } from "./text";

/** Kind of a command's reply. */
export enum Kind {
  Null,
  Integer,
  /** A string or a status text. */
  Bytes,
  Array,
  /** An error inside an array; a command's own error fails the call instead. */
  Error,
}

/** The reply of a command. The host uses RESP2, so maps are flat arrays. */
export class Value {
  private constructor(
    public readonly kind: Kind,
    private readonly number: i64 = 0,
    private readonly content: ArrayBuffer | null = null,
    private readonly elements: Array<Value> = [],
  ) {}

  /** True if there is no value. */
  get isNull(): bool {
    return this.kind == Kind.Null;
  }

  /** The value as an integer; a string is parsed. Any other reply fails the call. */
  get integer(): i64 {
    if (this.kind == Kind.Integer) return this.number;
    const parsed = Integer.parse(this.text);
    if (!parsed.ok) failWith("ERR a reply is not an integer");
    return parsed.value;
  }

  /** The value as a number that may have a fraction; a string is parsed. Any other reply fails the call. */
  get float(): f64 {
    if (this.kind == Kind.Integer) return <f64>this.number;
    const parsed = Float.parse(this.text);
    if (!parsed.ok) failWith("ERR a reply is not a number");
    return parsed.value;
  }

  /** The value as text; empty if it is null. */
  get text(): string {
    if (this.kind == Kind.Integer) return this.number.toString();
    const bytes = this.bytes;
    if (!isUtf8(bytes)) {
      failWith("ERR a reply is not UTF-8 text");
      return "";
    }
    return textOf(bytes);
  }

  /** The value's bytes; empty if it is null. */
  get bytes(): ArrayBuffer {
    const content = this.content;
    return content !== null ? content : new ArrayBuffer(0);
  }

  /** The elements of an array; empty for anything else. */
  get items(): Array<Value> {
    return this.elements;
  }

  /** The elements of an array as texts. */
  get texts(): Array<string> {
    const texts = new Array<string>();
    for (let i = 0; i < this.elements.length; i++) texts.push(this.elements[i].text);
    return texts;
  }

  /** The pairs of a flat array as a map, in order. */
  get map(): Map<string, string> {
    const map = new Map<string, string>();
    for (let i = 0; i + 1 < this.elements.length; i += 2) {
      map.set(this.elements[i].text, this.elements[i + 1].text);
    }
    return map;
  }

  /** No value: the result of a failed call. */
  static none(): Value {
    return new Value(Kind.Null);
  }

  /** Reads one whole reply; null if the bytes are not one. */
  static decode(bytes: ArrayBuffer): Value | null {
    const reader = new Reader(bytes);
    const value = reader.read();
    return reader.atEnd ? value : null;
  }

  /** Makes a value from the parts that a reader has found. */
  static of(kind: Kind, number: i64, content: ArrayBuffer | null, elements: Array<Value>): Value {
    return new Value(kind, number, content, elements);
  }
}

/** Deepest nesting that is read. */
const DEPTH_MAX: i32 = 32;

class Reader {
  private at: i32 = 0;
  private depth: i32 = 0;

  constructor(private readonly bytes: ArrayBuffer) {}

  get atEnd(): bool {
    return this.at == this.bytes.byteLength;
  }

  private line(): ArrayBuffer | null {
    const start = this.at;
    const base = changetype<usize>(this.bytes);
    const len = this.bytes.byteLength;
    while (this.at < len && load<u8>(base + this.at) != 0x0d) this.at++;
    if (this.at + 2 > len) return null;
    this.at += 2;
    return this.bytes.slice(start, this.at - 2);
  }

  read(): Value | null {
    const line = this.line();
    if (line === null || line.byteLength == 0) return null;
    const head = load<u8>(changetype<usize>(line));
    const rest = line.slice(1);
    if (head == 0x2b) return Value.of(Kind.Bytes, 0, rest, []);
    if (head == 0x2d) return Value.of(Kind.Error, 0, rest, []);
    const number = Integer.parse(textOf(rest));
    if (!number.ok) return null;
    if (head == 0x3a) return Value.of(Kind.Integer, number.value, null, []);
    if (number.value < 0) return Value.none();
    if (head == 0x24) {
      const start = this.at;
      if (number.value > <i64>(this.bytes.byteLength - start - 2)) return null;
      this.at += <i32>number.value + 2;
      return Value.of(Kind.Bytes, 0, this.bytes.slice(start, this.at - 2), []);
    }
    if (head != 0x2a || this.depth == DEPTH_MAX) return null;
    this.depth++;
    const elements = new Array<Value>();
    for (let i: i64 = 0; i < number.value; i++) {
      const element = this.read();
      if (element === null) return null;
      elements.push(element);
    }
    this.depth--;
    return Value.of(Kind.Array, 0, null, elements);
  }
}
