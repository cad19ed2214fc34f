// A small JSON reader, for requests in JSON.

import { Float } from "./number";

/** Deepest nesting that is read. */
const DEPTH_MAX: i32 = 64;

/** Kind of a JSON value. */
export enum JsonKind {
  Null,
  Bool,
  Number,
  String,
  Array,
  Object,
}

/**
 * A JSON value.
 *
 *   const request = Json.parse(text);
 *   if (request === null) return ferrite.fail<bool>("the request is not JSON");
 *   const action = request.string("action");
 */
export class Json {
  private constructor(
    public readonly kind: JsonKind = JsonKind.Null,
    private readonly literal: string = "null",
    private readonly names: Array<string> = [],
    /** The elements of an array, or the values of an object's members. */
    public readonly items: Array<Json> = [],
  ) {}

  /** Reads a text that is one JSON value (RFC 8259); null if it is not. */
  static parse(text: string): Json | null {
    const reader = new Reader(text);
    const value = reader.value(0);
    return value !== null && reader.atEnd() ? value : null;
  }

  /** Makes a value from the parts that a reader has found. */
  static of(kind: JsonKind, literal: string, names: Array<string> = [], items: Array<Json> = []): Json {
    return new Json(kind, literal, names, items);
  }

  /** A member of an object, the last of its name; null if there is none. */
  member(name: string): Json | null {
    for (let i = this.names.length - 1; i >= 0; i--) {
      if (this.names[i] == name) return this.items[i];
    }
    return null;
  }

  /** A string member of an object; null if there is none or it is not a string. */
  string(name: string): string | null {
    const member = this.member(name);
    return member !== null && member.kind == JsonKind.String ? member.literal : null;
  }

  /** A number member of an object, or `otherwise`. */
  number(name: string, otherwise: f64 = 0): f64 {
    const member = this.member(name);
    return member !== null && member.kind == JsonKind.Number ? Float.parse(member.literal).value : otherwise;
  }

  /** A boolean member of an object, or `otherwise`. */
  bool(name: string, otherwise: bool = false): bool {
    const member = this.member(name);
    return member !== null && member.kind == JsonKind.Bool ? member.literal == "true" : otherwise;
  }

  /** The text of a string, or the spelling of a number, a boolean or null. */
  get text(): string {
    return this.literal;
  }
}

class Reader {
  private at: i32 = 0;

  constructor(private readonly text: string) {}

  private peek(): i32 {
    return this.at < this.text.length ? this.text.charCodeAt(this.at) : -1;
  }

  private blanks(): void {
    let char = this.peek();
    while (char == 0x20 || char == 0x09 || char == 0x0a || char == 0x0d) {
      this.at++;
      char = this.peek();
    }
  }

  private char(char: i32): bool {
    this.blanks();
    if (this.peek() != char) return false;
    this.at++;
    return true;
  }

  atEnd(): bool {
    this.blanks();
    return this.at == this.text.length;
  }

  value(depth: i32): Json | null {
    this.blanks();
    const char = this.peek();
    if (char == 0x22) {
      const string = this.string();
      return string !== null ? Json.of(JsonKind.String, string) : null;
    }
    if (char == 0x7b || char == 0x5b) return depth < DEPTH_MAX ? this.container(char == 0x7b, depth) : null;
    if (char == 0x2d || this.digit(char)) return this.number();
    return this.word("true", JsonKind.Bool) || this.word("false", JsonKind.Bool) || this.word("null", JsonKind.Null);
  }

  private word(word: string, kind: JsonKind): Json | null {
    if (!this.text.startsWith(word, this.at)) return null;
    this.at += word.length;
    return Json.of(kind, word);
  }

  private container(isObject: bool, depth: i32): Json | null {
    const close = isObject ? 0x7d : 0x5d;
    const names = new Array<string>();
    const items = new Array<Json>();
    this.at++;
    if (!this.char(close)) {
      do {
        if (isObject) {
          this.blanks();
          const name = this.string();
          if (name === null || !this.char(0x3a)) return null;
          names.push(name);
        }
        const item = this.value(depth + 1);
        if (item === null) return null;
        items.push(item);
      } while (this.char(0x2c));
      if (!this.char(close)) return null;
    }
    return Json.of(isObject ? JsonKind.Object : JsonKind.Array, "", names, items);
  }

  private string(): string | null {
    if (this.peek() != 0x22) return null;
    this.at++;
    let string = "";
    let start = this.at;
    while (true) {
      const char = this.peek();
      if (char < 0x20) return null;
      if (char == 0x22) {
        string += this.text.substring(start, this.at++);
        return string;
      }
      this.at++;
      if (char == 0x5c) {
        string += this.text.substring(start, this.at - 1);
        const escaped = this.escape();
        if (escaped < 0) return null;
        string += String.fromCharCode(escaped);
        start = this.at;
      }
    }
  }

  private escape(): i32 {
    const char = this.peek();
    this.at++;
    switch (char) {
      case 0x22:
      case 0x5c:
      case 0x2f:
        return char;
      case 0x62:
        return 0x08;
      case 0x66:
        return 0x0c;
      case 0x6e:
        return 0x0a;
      case 0x72:
        return 0x0d;
      case 0x74:
        return 0x09;
      case 0x75: {
        let unit = 0;
        for (let i = 0; i < 4; i++) {
          const digit = this.peek();
          this.at++;
          let value = -1;
          if (this.digit(digit)) value = digit - 0x30;
          else if ((digit | 0x20) >= 0x61 && (digit | 0x20) <= 0x66) value = (digit | 0x20) - 0x57;
          if (value < 0) return -1;
          unit = unit * 16 + value;
        }
        return unit;
      }
    }
    return -1;
  }

  private digit(char: i32): bool {
    return char >= 0x30 && char <= 0x39;
  }

  private digits(): bool {
    const start = this.at;
    while (this.digit(this.peek())) this.at++;
    return this.at > start;
  }

  private number(): Json | null {
    const start = this.at;
    if (this.peek() == 0x2d) this.at++;
    const zero = this.peek() == 0x30;
    const first = this.at;
    if (!this.digits() || (zero && this.at > first + 1)) return null;
    if (this.peek() == 0x2e) {
      this.at++;
      if (!this.digits()) return null;
    }
    if ((this.peek() | 0x20) == 0x65) {
      this.at++;
      if (this.peek() == 0x2b || this.peek() == 0x2d) this.at++;
      if (!this.digits()) return null;
    }
    const literal = this.text.substring(start, this.at);
    return isFinite(Float.parse(literal).value) ? Json.of(JsonKind.Number, literal) : null;
  }
}
