//! The `ferrite-wasmc` command line.
fn main() {}
