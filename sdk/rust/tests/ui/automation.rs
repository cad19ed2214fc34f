//! Triggers and schedules.

use ferrite_wasm_sdk::*;

#[ferrite_function]
#[ferrite::on(keys = "user:*")]
fn no_events() {}

#[ferrite::on(keys = "user:*", events = "ex-pired")]
#[ferrite_function]
fn event() {}

#[ferrite::every("5m")]
fn alone() {}

#[ferrite_function]
#[ferrite::every("five minutes")]
fn time() {}

#[ferrite_function]
#[ferrite::cron("0 3 * *", at = "noon")]
fn option() {}

#[ferrite_function]
#[ferrite::cron]
fn bare() {}

fn main() {}
