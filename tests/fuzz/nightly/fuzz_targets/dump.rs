//! Values as DUMP and RESTORE exchange them.

#![no_main]

#[path = "../../../all/fuzzing/targets.rs"]
#[allow(dead_code, reason = "each program runs one of them")]
mod targets;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| targets::dump(bytes));
