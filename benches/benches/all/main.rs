//! The benchmarks of the workspace's parts, in one binary.

mod bed;
mod bundle;
mod call;
mod compile;
mod host_calls;
mod images;
mod isolation;
mod load;
mod preinit;
mod registry;
mod rewind;
mod sharing;
mod steps;

use criterion::{criterion_group, criterion_main};

criterion_group!(
    benches,
    compile::bench,
    load::bench,
    registry::bench,
    bundle::bench,
    call::bench,
    preinit::bench,
    images::bench,
    steps::bench,
    host_calls::bench,
    isolation::bench,
    sharing::bench,
    rewind::bench
);
criterion_main!(benches);
