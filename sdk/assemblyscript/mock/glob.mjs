// Redis's glob patterns: `*`, `?`, `[a-z]`, `[^a]`, and `\` before a literal byte. Strings hold one
// byte a character.

/** True if the text as a whole matches the pattern. */
export function matches(pattern, text) {
  // Redis matches no star against the empty text, except where `*` is the whole pattern.
  if (text === "") return pattern === "" || pattern === "*";
  let at = 0;
  let position = 0;
  // After the last star, and the position from which it was tried. A mismatch tries it again one
  // byte later.
  let afterStar = -1;
  let from = 0;
  while (position < text.length) {
    if (pattern[at] === "*") {
      at += 1;
      afterStar = at;
      from = position;
      continue;
    }
    const next = matchOne(pattern, at, text[position]);
    if (next >= 0) {
      at = next;
      position += 1;
    } else if (afterStar >= 0) {
      at = afterStar;
      from += 1;
      position = from;
    } else {
      return false;
    }
  }
  while (pattern[at] === "*") at += 1;
  return at === pattern.length;
}

/** Position in the pattern after the element at `at`, or -1 if that does not match the byte. */
function matchOne(pattern, at, byte) {
  switch (pattern[at]) {
    case undefined:
      return -1;
    case "?":
      return at + 1;
    case "[":
      return matchClass(pattern, at + 1, byte);
    case "\\":
      if (at + 1 < pattern.length) at += 1;
  }
  return pattern[at] === byte ? at + 1 : -1;
}

function matchClass(pattern, at, byte) {
  const negated = pattern[at] === "^";
  if (negated) at += 1;
  let found = false;
  while (at < pattern.length && pattern[at] !== "]") {
    let low = pattern[at];
    let high = low;
    if (low === "\\" && at + 1 < pattern.length) {
      low = high = pattern[at + 1];
      at += 2;
    } else if (pattern[at + 1] === "-" && at + 2 < pattern.length) {
      high = pattern[at + 2];
      if (low > high) [low, high] = [high, low];
      at += 3;
    } else {
      at += 1;
    }
    if (low <= byte && byte <= high) found = true;
  }
  return found === negated ? -1 : Math.min(at + 1, pattern.length);
}
