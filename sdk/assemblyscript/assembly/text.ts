// Bytes and text: UTF-8, numbers, and values as error replies show them.

/** Most bytes of a value that an error reply shows. */
const EXCERPT_BYTES_MAX: i32 = 64;

/** The bytes of a text in UTF-8. */
export function bytesOf(text: string): ArrayBuffer {
  return String.UTF8.encode(text);
}

/** The text of bytes that are UTF-8; undefined text for other bytes. */
export function textOf(bytes: ArrayBuffer): string {
  return String.UTF8.decode(bytes);
}

/** Returns true if bytes are UTF-8: shortest forms only, no surrogates, nothing above U+10FFFF. */
export function isUtf8(bytes: ArrayBuffer): bool {
  let at = changetype<usize>(bytes);
  const end = at + bytes.byteLength;
  while (at < end) {
    const first = load<u8>(at++);
    if (first < 0x80) continue;
    let more = 0;
    let rune: u32 = 0;
    let least: u32 = 0;
    if (first >> 5 == 6) {
      more = 1;
      rune = first & 0x1f;
      least = 0x80;
    } else if (first >> 4 == 14) {
      more = 2;
      rune = first & 0x0f;
      least = 0x800;
    } else if (first >> 3 == 30) {
      more = 3;
      rune = first & 0x07;
      least = 0x10000;
    } else {
      return false;
    }
    if (end - at < <usize>more) return false;
    for (; more > 0; more--) {
      const next = load<u8>(at++);
      if ((next & 0xc0) != 0x80) return false;
      rune = (rune << 6) | (next & 0x3f);
    }
    if (rune < least || rune > 0x10ffff || (rune >= 0xd800 && rune < 0xe000)) return false;
  }
  return true;
}

/** The result of reading an integer. */
export class Integer {
  constructor(
    /** True if the text is digits after an optional minus sign, within 64 bits. */
    public ok: bool,
    public value: i64,
  ) {}

  /** Reads a text as an `i64`. */
  static parse(text: string): Integer {
    const negative = text.length > 0 && text.charCodeAt(0) == 0x2d;
    return Integer.scan(text, negative, negative ? 0x8000000000000000 : 0x7fffffffffffffff);
  }

  /** Reads a text as a `u64`, whose bits are in `value`. */
  static parseUnsigned(text: string): Integer {
    return Integer.scan(text, false, u64.MAX_VALUE);
  }

  private static scan(text: string, negative: bool, limit: u64): Integer {
    let sum: u64 = 0;
    let at = negative ? 1 : 0;
    if (at == text.length) return new Integer(false, 0);
    for (; at < text.length; at++) {
      const digit = <u64>text.charCodeAt(at) - 0x30;
      if (digit > 9 || sum > (limit - digit) / 10) return new Integer(false, 0);
      sum = sum * 10 + digit;
    }
    return new Integer(true, <i64>(negative ? 0 - sum : sum));
  }
}

/** A value in double quotes, escaped and shortened. */
export function excerpt(bytes: ArrayBuffer): string {
  const view = Uint8Array.wrap(bytes);
  let text = '"';
  for (let i = 0; i < view.length && i < EXCERPT_BYTES_MAX; i++) {
    const byte = view[i];
    if (byte == 0x22) text += '\\"';
    else if (byte == 0x5c) text += "\\\\";
    else if (byte == 0x0a) text += "\\n";
    else if (byte == 0x0d) text += "\\r";
    else if (byte >= 0x20 && byte <= 0x7e) text += String.fromCharCode(byte);
    else text += "\\x" + (byte < 16 ? "0" : "") + (<u32>byte).toString(16);
  }
  return text + (view.length > EXCERPT_BYTES_MAX ? '"...' : '"');
}
