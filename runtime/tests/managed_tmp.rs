//! Only for now.
#[path = "all/managed/mod.rs"]
mod managed;
#[path = "all/support/mod.rs"]
mod support;
