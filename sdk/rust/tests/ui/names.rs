//! Names and options.

#![allow(unused_variables, reason = "only the signatures matter here")]

use ferrite_wasm_sdk::*;

#[ferrite_function(name = "no blanks")]
fn blanks() {}

#[ferrite_function(name = "")]
fn empty() {}

#[ferrite_function]
fn memory() {}

#[ferrite_function]
fn __hidden() {}

#[ferrite_function(rename = "x")]
fn option() {}

#[ferrite_function(name = "a", name = "b")]
fn twice() {}

fn main() {}
