//! Modules of known sizes for the benchmarks, generated for each run.

pub mod modules;
