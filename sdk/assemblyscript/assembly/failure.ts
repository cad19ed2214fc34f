// The error of the current call.
//
// AssemblyScript has no exceptions that could carry an error out of a function. So the first error of
// a call is kept here: from then on the store is out of reach, reads return nothing and writes do
// nothing, and the caller gets the error, whatever the function returns in the end.

import { reply_error, Status } from "./abi";
import { bytesOf, excerpt } from "./text";

let error: string | null = null;

/** Returns true if the call has failed. */
export function failed(): bool {
  return error !== null;
}

/** Keeps an error, which starts with its code, unless there is one already. */
export function failWith(text: string): void {
  if (error === null) error = text;
}

/** Forgets the error of an earlier call. */
export function forgive(): void {
  error = null;
}

/** Replies the error, if there is one; returns true if it did. */
export function replyFailure(): bool {
  const text = error;
  if (text === null) return false;
  const bytes = bytesOf(text);
  reply_error(changetype<usize>(bytes), bytes.byteLength);
  return true;
}

/** Returns true if a text starts with an error code, such as WRONGTYPE, and has more after it. */
function hasCode(text: string): bool {
  let len = 0;
  for (; len < text.length; len++) {
    const char = text.charCodeAt(len);
    const upper = char >= 0x41 && char <= 0x5a;
    const later = (char >= 0x30 && char <= 0x39) || char == 0x5f;
    if (!upper && !(later && len > 0)) break;
  }
  return len >= 2 && len < text.length && text.charCodeAt(len) == 0x20;
}

/**
 * Makes the call's reply an error: `return ferrite.fail<bool>("NOUSER there is no such user")`.
 * A text without a code gets `ERR`. Returns the type's empty value.
 */
export function fail<T>(text: string): T {
  failWith(hasCode(text) ? text : "ERR " + text);
  return nothing<T>();
}

/** The empty value of a type. */
export function nothing<T>(): T {
  if (isNullable<T>()) return changetype<T>(0);
  if (isString<T>()) return changetype<T>("");
  if (isManaged<T>()) {
    if (idof<T>() == idof<ArrayBuffer>()) return changetype<T>(new ArrayBuffer(0));
    else return instantiate<T>();
  }
  // @ts-ignore: what is left is a number, a boolean or void
  return <T>0;
}

/** Keeps the error for the status that the host function `operation` returned for `subject`. */
export function failStatus(status: i64, operation: string, subject: ArrayBuffer): void {
  if (status == Status.WRONG_TYPE) {
    failWith("WRONGTYPE Operation against a key holding the wrong kind of value");
  } else if (status == Status.INVALID && operation == "incr_by") {
    failWith("ERR value is not an integer or out of range");
  } else {
    let code = "ERR ";
    let text = "unknown status";
    if (status == Status.DENIED) {
      code = "NOPERM ";
      text = "not permitted";
    } else if (status == Status.READ_ONLY) {
      code = "NOPERM ";
      text = "the call may only read";
    } else if (status == Status.LIMIT) {
      code = "LIMIT ";
      text = "a limit was reached";
    } else if (status == Status.INVALID) {
      text = "invalid value or parameter";
    } else if (status == Status.STORE) {
      text = "the store failed";
    }
    failWith(code + operation + " " + excerpt(subject) + ": " + text);
  }
}
