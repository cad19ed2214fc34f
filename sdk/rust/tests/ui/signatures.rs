//! Every mistake in a signature is reported, at its place.

#![allow(unused_variables, reason = "only the signatures matter here")]

use ferrite_wasm_sdk::*;

struct Counter;

#[ferrite_function]
async fn waits(key: &str) {}

#[ferrite_function]
unsafe fn dares(key: &str) {}

#[ferrite_function]
extern "C" fn foreign(key: &str) {}

#[ferrite_function]
fn generic<T, const N: usize>(key: T) {}

#[ferrite_function]
fn pattern((a, b): (i64, i64), _: &str) {}

#[ferrite_function]
fn changes(key: &mut str) {}

#[ferrite_function]
fn opaque(key: impl AsRef<[u8]>) {}

impl Counter {
    #[ferrite_function]
    fn method(&self) {}
}

#[ferrite_function]
struct NotAFunction;

fn main() {}
