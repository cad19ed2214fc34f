//! Ahead-of-time compilation: validation alone, and all steps from source to artifact.

pub(crate) mod compilers;

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput};
use ferrite_benches::modules::{Size, generated};
use ferrite_cache::Profile;
use ferrite_compiler::{Compiler, SourceLimits, validate};

pub(crate) fn bench(criterion: &mut Criterion) {
    let bounds = SourceLimits::default();
    let compiler =
        Compiler::new(&Profile::native(), bounds.clone()).expect("this machine is supported");
    let mut group = criterion.benchmark_group("compile");
    group
        .sample_size(10)
        .measurement_time(Duration::from_secs(8));
    for size in Size::ALL {
        let source = generated(size, 0);
        group.throughput(Throughput::Bytes(source.len() as u64));
        group.bench_function(BenchmarkId::new("validate", size.name()), |bencher| {
            bencher.iter(|| validate(black_box(&source), &bounds).expect("a valid module"));
        });
        group.bench_function(BenchmarkId::new("whole", size.name()), |bencher| {
            bencher.iter(|| {
                compiler
                    .compile(black_box(&source))
                    .expect("a valid module")
            });
        });
    }
    group.finish();
}
