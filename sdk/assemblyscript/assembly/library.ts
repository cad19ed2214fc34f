// The functions that AssemblyScript's library expects of its host: the end of a failed program, messages, the
// time and random numbers. The transform puts these in place of the imports that it declares.

import * as abi from "./abi";
import { bytesOf } from "./text";

const DEBUG: i32 = 1;
const INFO: i32 = 2;
const WARN: i32 = 3;
const ERROR: i32 = 4;

function write(level: i32, text: string): void {
  const bytes = bytesOf(text);
  abi.log(level, changetype<usize>(bytes), bytes.byteLength);
}

/** Logs and traps: `throw` and failed assertions end here, and the call is undone. */
export function abort(message: string | null, file: string | null, line: u32, column: u32): void {
  write(ERROR, `panic: ${message !== null ? message : "aborted"} (${file !== null ? file : "unknown"}:${line})`);
  unreachable();
}

/** Logs a message and the first `n` of the numbers. */
export function trace(
  message: string,
  n: i32 = 0,
  a0: f64 = 0,
  a1: f64 = 0,
  a2: f64 = 0,
  a3: f64 = 0,
  a4: f64 = 0,
): void {
  const numbers = [a0, a1, a2, a3, a4];
  for (let i = 0; i < n && i < numbers.length; i++) message += (i > 0 ? ", " : " ") + numbers[i].toString();
  write(DEBUG, message);
}

/** Seeds `Math.random`. */
export function seed(): f64 {
  const out = new StaticArray<f64>(1);
  abi.random(changetype<usize>(out), sizeof<f64>());
  return out[0];
}

export namespace Date {
  /** The milliseconds since 1970, the same throughout a call. */
  export function now(): f64 {
    return <f64>abi.time_millis();
  }
}

export namespace performance {
  /** The same clock: time stands still during a call. */
  export function now(): f64 {
    return <f64>abi.time_millis();
  }
}

export namespace crypto {
  export function getRandomValues(array: Uint8Array): void {
    abi.random(array.dataStart, array.length);
  }
}

export namespace console {
  export function assert(condition: bool, message: string): void {
    if (!condition) write(ERROR, message.length > 0 ? "assertion failed: " + message : "assertion failed");
  }

  export function log(message: string): void {
    write(INFO, message);
  }

  export function debug(message: string): void {
    write(DEBUG, message);
  }

  export function info(message: string): void {
    write(INFO, message);
  }

  export function warn(message: string): void {
    write(WARN, message);
  }

  export function error(message: string): void {
    write(ERROR, message);
  }

  export function time(label: string): void {}

  export function timeLog(label: string): void {
    write(DEBUG, label + ": the clock stands still during a call; `ferrite-wasmc run --profile` measures it");
  }

  export function timeEnd(label: string): void {
    timeLog(label);
  }
}
