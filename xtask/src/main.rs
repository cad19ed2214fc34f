//! `cargo xtask`: set-up, checks, tests, demo and benchmarks of the workspace.
fn main() {}
