// Errors, numbers and ranges as the store's commands have them.

export const WRONG_TYPE = "WRONGTYPE Operation against a key holding the wrong kind of value";
export const NOT_AN_INTEGER = "ERR value is not an integer or out of range";
export const NOT_A_FLOAT = "ERR value is not a valid float";
export const OK = { simple: "OK" };

/** An error reply, thrown on the way. */
export class CommandError extends Error {}

/** Ends a command with an error reply. */
export function fail(text) {
  throw new CommandError(text);
}

export function syntaxError() {
  fail("ERR syntax error");
}

/** Reads an integer as the store does: no sign but a minus, no zero in front, within 64 bits. */
export function integer(text, error = NOT_AN_INTEGER) {
  if (!/^(0|-?[1-9][0-9]*)$/.test(text)) fail(error);
  const number = BigInt(text);
  if (BigInt.asIntN(64, number) !== number) fail(error);
  return number;
}

/** Reads a count that is not negative. */
export function count(text) {
  const number = integer(text, "ERR value is out of range, must be positive");
  if (number < 0n) fail("ERR value is out of range, must be positive");
  return Number(number);
}

/** Reads a number as every SDK does: decimal, or an infinity; neither too large nor too small. */
export function float(text, error = NOT_A_FLOAT) {
  const infinity = /^([+-]?)(inf|infinity)$/i.exec(text);
  if (infinity) return infinity[1] === "-" ? -Infinity : Infinity;
  if (!/^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?$/i.test(text)) fail(error);
  const number = Number(text);
  const vanished = number === 0 && /[1-9]/.test(text.split(/e/i)[0]);
  if (!Number.isFinite(number) || vanished) fail(error);
  return number;
}

/** A number's text in a reply. */
export function floatText(number) {
  if (!Number.isFinite(number)) return number > 0 ? "inf" : "-inf";
  return Object.is(number, -0) ? "-0" : String(number);
}

/** Adds within 64 bits. */
export function sum(left, right) {
  const total = left + right;
  if (BigInt.asIntN(64, total) !== total) fail("ERR increment or decrement would overflow");
  return total;
}

export const flag = (truth) => (truth ? 1n : 0n);

/** The places from `start` to `stop` of `length`; negative numbers count from the end. */
export function range(start, stop, length) {
  const place = (at) => Number(at < 0n ? at + BigInt(length) : at);
  const from = Math.min(Math.max(place(integer(start)), 0), length);
  return [from, Math.max(Math.min(place(integer(stop)) + 1, length), from)];
}

/** Orders texts by their bytes. */
export function byBytes(left, right) {
  return left < right ? -1 : left > right ? 1 : 0;
}

/** Ends a command that was given too few or too many arguments. */
export function wrongCount(name) {
  fail(`ERR wrong number of arguments for '${name.toLowerCase()}' command`);
}
