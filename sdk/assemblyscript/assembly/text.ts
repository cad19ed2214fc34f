// Bytes and text: UTF-8, and values as error replies show them.

/** Most bytes of a value that an error reply shows. */
const EXCERPT_BYTES_MAX: i32 = 64;

/** The bytes of a text in UTF-8. Half a surrogate pair, which UTF-8 does not have, becomes U+FFFD. */
export function bytesOf(text: string): ArrayBuffer {
  return String.UTF8.encode(text, false, String.UTF8.ErrorMode.REPLACE);
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
