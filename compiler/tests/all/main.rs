//! Tests of the compiler from outside.

mod accepted;
mod bombs;
mod bounds;
mod depth;
mod deterministic;
mod golden;
mod javascript;
mod meter;
mod preinit;
mod refused;
mod rewrite;
mod sandbox;
mod split;
mod worker;

/// A message of the tests that cannot be reached.
const VALID: &str = "the source is valid";
