//! From an artifact on disk to its first reply: the lookup, which verifies and maps it, and the
//! rest.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion};
use ferrite_benches::modules::{Size, generated};
use ferrite_runtime::policy::function_spec::Isolation;

use crate::bed::{Bed, encoder};

pub(crate) fn bench(criterion: &mut Criterion) {
    let bed = Bed::new();
    let mut reply = encoder();
    let mut group = criterion.benchmark_group("load");
    for size in Size::ALL {
        let digest = bed.publish(&generated(size, 0));
        // The artifact is verified and mapped; none of its code is loaded.
        group.bench_function(BenchmarkId::new("cache hit", size.name()), |bencher| {
            bencher.iter(|| {
                bed.cache
                    .lookup(black_box(&digest), &bed.profile)
                    .expect("a cache")
                    .expect("a hit")
            });
        });
        // The same, then deserialized, linked and registered.
        group.bench_function(BenchmarkId::new("function", size.name()), |bencher| {
            bencher.iter(|| bed.load("f", digest, Isolation::Fresh));
        });
        group.bench_function(
            BenchmarkId::new("function and first call", size.name()),
            |bencher| {
                bencher.iter(|| {
                    bed.load("f", digest, Isolation::Fresh);
                    bed.call("f", &[], &[b"1"], &mut reply);
                });
            },
        );
    }
    group.finish();
}
