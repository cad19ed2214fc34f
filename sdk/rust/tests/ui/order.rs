//! Parameters that could never be filled.

#![allow(unused_variables, reason = "only the signatures matter here")]

use ferrite_wasm_sdk::*;

#[ferrite_function]
fn after_the_rest(members: Vec<String>, key: &str) {}

#[ferrite_function]
fn after_optional(key: Option<String>, limit: i64) {}

#[ferrite_function]
fn bytes_are_one_value(value: Vec<u8>, limit: i64) {}

fn main() {}
