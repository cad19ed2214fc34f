//! Validation and ahead-of-time compilation of WebAssembly modules.
