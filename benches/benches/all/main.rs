//! The benchmarks of the workspace's parts, in one binary.

mod bed;
mod bundle;
mod call;
mod compile;
mod host_calls;
mod images;
mod isolation;
mod languages;
mod load;
mod metering;
mod preinit;
mod registry;
mod rewind;
mod sharing;
mod steps;

use std::ffi::OsString;
use std::io;

use criterion::{Criterion, criterion_group};

criterion_group!(
    benches,
    compile::bench,
    load::bench,
    registry::bench,
    bundle::bench,
    call::bench,
    preinit::bench,
    images::bench,
    languages::bench,
    steps::bench,
    host_calls::bench,
    isolation::bench,
    sharing::bench,
    rewind::bench,
    metering::bench
);

fn main() -> io::Result<()> {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    if !compile::compilers::run(&arguments)? {
        benches();
        Criterion::default().configure_from_args().final_summary();
    }
    Ok(())
}
