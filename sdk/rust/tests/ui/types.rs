//! Types that cannot cross.

#![allow(unused_variables, reason = "only the signatures matter here")]

use ferrite_wasm_sdk::*;

struct Opaque;

#[ferrite_function]
fn takes(key: &str, what: Opaque) {}

#[ferrite_function]
fn gives(key: &str) -> Opaque {
    Opaque
}

fn reads() -> Result<Option<Opaque>, Error> {
    ferrite::get("key")
}

fn main() {}
