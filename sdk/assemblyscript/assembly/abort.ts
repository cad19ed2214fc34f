// `throw` and failed assertions end here: the message goes to the log, and the call is undone.

import * as abi from "./abi";

const ERROR: i32 = 4;

/** Logs and traps. The transform makes this the program's `abort`. */
export function abort(message: string | null, file: string | null, line: u32, column: u32): void {
  const text = `panic: ${message !== null ? message : "aborted"} (${file !== null ? file : "unknown"}:${line})`;
  const bytes = String.UTF8.encode(text);
  abi.log(ERROR, changetype<usize>(bytes), bytes.byteLength);
  unreachable();
}
