//! The attribute macro of the Ferrite WASM Rust SDK.
