//! Write Ferrite WASM functions in Rust.
