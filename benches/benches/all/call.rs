//! Warm calls by name, whole: from the request to the committed reply.

use std::path::Path;

use criterion::{BenchmarkId, Criterion};
use ferrite_runtime::spec::Isolation;

use crate::bed::{Bed, encoder};

/// A function of `benches/functions`, its keys and its arguments.
const CALLS: &[(&str, &[&[u8]], &[&[u8]])] = &[
    ("noop", &[], &[]),
    ("get_set", &[b"bench:key"], &[b"0123456789abcdef"]),
    ("sum", &[], &[b"1000"]),
];

pub(crate) fn bench(criterion: &mut Criterion) {
    let bed = Bed::new();
    let mut reply = encoder();
    let mut group = criterion.benchmark_group("call");
    for (name, keys, arguments) in CALLS {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("functions")
            .join(name)
            .with_extension("wat");
        let digest = bed.publish(&std::fs::read(path).expect("a function of the benchmarks"));
        for isolation in [Isolation::Reuse, Isolation::Fresh] {
            bed.load(name, digest, isolation);
            group.bench_function(BenchmarkId::new(*name, isolation), |bencher| {
                bencher.iter(|| bed.call(name, keys, arguments, &mut reply));
            });
        }
    }
    group.finish();
}
