// Support for the code that the transform writes around each exported function: fills the
// parameters from the KEYS, then the ARGS, and replies the result.

import * as abi from "./abi";
import { failed, failStatus, failWith, forgive, nothing, replyFailure } from "./failure";
import { Json } from "./json";
import { Float, Integer } from "./number";
import { bytesOf, excerpt, isUtf8, textOf } from "./text";
import { Kind, Value } from "./value";

/** A value that a parameter took. */
class Given {
  constructor(
    public readonly parameter: string,
    public readonly type: string,
    public readonly index: i32,
    public readonly bytes: ArrayBuffer,
  ) {}
}

let name: string = "";
let signature: string = "";
let taken: i32 = 0;
let given: Array<Given> = [];

/** Begins a call of a function. */
export function begin(functionName: string, itsSignature: string): void {
  name = functionName;
  signature = itsSignature;
  taken = 0;
  given = [];
  forgive();
}

function left(): i32 {
  return abi.key_count() + abi.arg_count() - taken;
}

function position(index: i32): string {
  const keys = abi.key_count();
  return index < keys ? `KEYS[${index + 1}]` : `ARGS[${index - keys + 1}]`;
}

function counts(): string {
  const keys = abi.key_count();
  const args = abi.arg_count();
  return `got ${keys} ${keys == 1 ? "key" : "keys"} and ${args} ${args == 1 ? "argument" : "arguments"}`;
}

function mismatch(value: Given, expected: string): void {
  const place = `'${value.parameter}' (${position(value.index)}, ${value.type})`;
  failWith(`ERR ${name}: ${place} must be ${expected}, not ${excerpt(value.bytes)}`);
}

function next(index: i32): ArrayBuffer {
  const keys = abi.key_count();
  let bytes = new ArrayBuffer(0);
  for (let again = 0; again < 2; again++) {
    const len =
      index < keys
        ? abi.key(index, changetype<usize>(bytes), bytes.byteLength)
        : abi.arg(index - keys, changetype<usize>(bytes), bytes.byteLength);
    if (len < 0) {
      failStatus(len, "input", bytesOf(position(index)));
      break;
    }
    if (len == bytes.byteLength) break;
    bytes = new ArrayBuffer(len);
  }
  return bytes;
}

/** The element type of an array. */
function item<T>(list: T, parameter: string, type: string): void {
  // @ts-ignore: only called for arrays
  list.push(take<valueof<T>>(parameter, type));
}

/**
 * Refuses the value of a parameter after a closer look: `expected` completes "must be …".
 * Returns the result type's empty value, as `fail` does.
 */
export function refuse<T>(parameter: string, expected: string): T {
  for (let i = 0; i < given.length; i++) {
    if (given[i].parameter == parameter) mismatch(given[i], expected);
  }
  return nothing<T>();
}

/** Fills one parameter. A nullable one may be missing; an array takes all remaining values. */
export function take<T>(parameter: string, type: string): T {
  if (failed()) return nothing<T>();
  if (isArray<T>()) {
    const list = instantiate<T>();
    while (left() > 0 && !failed()) item<T>(list, parameter, type);
    return list;
  }
  if (left() == 0) {
    if (!isNullable<T>()) {
      failWith(`ERR ${signature}: no value for '${parameter}' (${type}); ${counts()}`);
    }
    return nothing<T>();
  }
  const bytes = next(taken);
  const value = new Given(parameter, type, taken++, bytes);
  given.push(value);
  if (isString<T>()) {
    if (!isUtf8(bytes)) {
      mismatch(value, "UTF-8 text");
      return nothing<T>();
    }
    // @ts-ignore: T is a string
    return changetype<T>(textOf(bytes));
  } else if (isBoolean<T>()) {
    const text = textOf(bytes);
    const yes = text == "1" || text == "true";
    if (!yes && text != "0" && text != "false") {
      mismatch(value, "1, 0, true or false");
    }
    // @ts-ignore: T is a boolean
    return <T>yes;
  } else if (isInteger<T>()) {
    const wide = !isSigned<T>() && sizeof<T>() == 8;
    const parsed = wide ? Integer.parseUnsigned(textOf(bytes)) : Integer.parse(textOf(bytes));
    // @ts-ignore: T is an integer
    const number = <T>parsed.value;
    // @ts-ignore: T is an integer
    if (!parsed.ok || <i64>number != parsed.value) {
      const bits = sizeof<T>() * 8;
      const kind = isSigned<T>() ? `a ${bits}-bit integer` : `an unsigned ${bits}-bit integer`;
      mismatch(value, kind);
      return nothing<T>();
    }
    return number;
  } else if (isFloat<T>()) {
    const text = textOf(bytes);
    const parsed = sizeof<T>() == 8 ? Float.parse(text) : Float.parseSingle(text);
    if (!parsed.ok) mismatch(value, "a number");
    // @ts-ignore: T is a float
    return <T>parsed.value;
  } else if (idof<T>() == idof<ArrayBuffer>()) {
    return changetype<T>(bytes);
  } else if (idof<T>() == idof<Json>()) {
    const json = isUtf8(bytes) ? Json.parse(textOf(bytes)) : null;
    if (json === null) {
      mismatch(value, "JSON");
      return nothing<T>();
    }
    return changetype<T>(json);
  } else {
    ERROR("a parameter is a string, a number, bool, ArrayBuffer, Json, or an array of these");
  }
}

/** Refuses values that no parameter took; returns true if the function may run. */
export function ready(): bool {
  if (!failed() && left() > 0) {
    failWith(`ERR ${signature}: ${position(taken)} is one too many; ${counts()}`);
  }
  return !failed();
}

/** Ends a call of a function that returns nothing. */
export function finish(): void {
  if (!replyFailure()) abi.reply_simple(changetype<usize>(OK), OK.byteLength);
}

const OK: ArrayBuffer = String.UTF8.encode("OK");

/** Ends a call by replying its result, or its error. */
export function finishWith<T>(result: T): void {
  if (!replyFailure()) reply<T>(result);
}

function replyValue(value: Value): void {
  if (value.kind == Kind.Null) abi.reply_null();
  else if (value.kind == Kind.Integer) abi.reply_int(value.integer);
  else if (value.kind == Kind.Bytes) reply<ArrayBuffer>(value.bytes);
  else if (value.kind == Kind.Error) {
    abi.reply_error(changetype<usize>(value.bytes), value.bytes.byteLength);
  } else {
    abi.reply_array(value.items.length);
    for (let i = 0; i < value.items.length; i++) replyValue(value.items[i]);
  }
}

function replyList<T>(list: T): void {
  // @ts-ignore: only called for arrays
  const len: i32 = list.length;
  abi.reply_array(len);
  // @ts-ignore: only called for arrays
  for (let i = 0; i < len; i++) reply<valueof<T>>(list[i]);
}

function replyMap<T>(map: T): void {
  // @ts-ignore: only called for maps
  const keys = map.keys();
  abi.reply_map(keys.length);
  for (let i = 0; i < keys.length; i++) {
    // @ts-ignore: only called for maps
    reply<indexof<T>>(keys[i]);
    // @ts-ignore: only called for maps
    reply<valueof<T>>(map.get(keys[i]));
  }
}

/** A reply that a function writes itself; extend it and call `reply` for its parts. */
export abstract class Reply {
  /** Writes exactly one value. */
  abstract write(): void;
}

/** Opens an array of `n` elements, the next replies. */
export function replyArray(n: i32): void {
  abi.reply_array(n);
}

/** Opens a map of `n` pairs, the next 2n replies. */
export function replyPairs(n: i32): void {
  abi.reply_map(n);
}

/** Replies a value: a number, bool, string, ArrayBuffer, null, an array or map of these, a `Value`. */
export function reply<T>(value: T): void {
  if (isBoolean<T>()) {
    // @ts-ignore: T is a boolean
    abi.reply_bool(i32(value));
  } else if (isInteger<T>()) {
    // @ts-ignore: T is an integer
    if (!isSigned<T>() && sizeof<T>() == 8 && <i64>value < 0) {
      // A number beyond the range of integer replies is replied as decimal text.
      // @ts-ignore: T is an integer
      reply<string>(value.toString());
      return;
    }
    // @ts-ignore: T is an integer
    abi.reply_int(<i64>value);
  } else if (isFloat<T>()) {
    // @ts-ignore: T is a float
    abi.reply_double(<f64>value);
  } else {
    if (isNullable<T>()) {
      if (changetype<usize>(value) == 0) {
        abi.reply_null();
        return;
      }
    }
    if (isString<T>()) {
      // @ts-ignore: T is a string
      const bytes = bytesOf(changetype<string>(value));
      abi.reply_bulk(changetype<usize>(bytes), bytes.byteLength);
    } else if (isArray<T>()) {
      replyList<NonNullable<T>>(changetype<NonNullable<T>>(value));
    } else if (idof<T>() == idof<ArrayBuffer>()) {
      const bytes = changetype<ArrayBuffer>(value);
      abi.reply_bulk(changetype<usize>(bytes), bytes.byteLength);
    } else if (value instanceof Value) {
      replyValue(changetype<Value>(value));
    } else if (value instanceof Reply) {
      changetype<Reply>(value).write();
    } else {
      replyMap<NonNullable<T>>(changetype<NonNullable<T>>(value));
    }
  }
}
