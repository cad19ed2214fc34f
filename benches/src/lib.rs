//! What the benchmarks measure: modules of known sizes, made anew for each run.

pub mod modules;
