//! Whole warm calls by name, from the request to the committed reply.

use std::path::Path;

use criterion::{BenchmarkId, Criterion};
use ferrite_runtime::policy::function_spec::Isolation;

use crate::bed::{Bed, encoder};

/// A function of `benches/functions`, and the input of its call.
struct Call {
    name: &'static str,
    keys: &'static [&'static [u8]],
    arguments: &'static [&'static [u8]],
}

const CALLS: &[Call] = &[
    Call {
        name: "noop",
        keys: &[],
        arguments: &[],
    },
    Call {
        name: "get_set",
        keys: &[b"bench:key"],
        arguments: &[b"0123456789abcdef"],
    },
    Call {
        name: "sum",
        keys: &[],
        arguments: &[b"1000"],
    },
];

pub(crate) fn bench(criterion: &mut Criterion) {
    let bed = Bed::new();
    let mut reply = encoder();
    let mut group = criterion.benchmark_group("call");
    for Call {
        name,
        keys,
        arguments,
    } in CALLS
    {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("functions")
            .join(name)
            .with_extension("wat");
        let digest = bed.publish(&std::fs::read(path).expect("a function of the benchmarks"));
        for isolation in Isolation::ALL {
            bed.load(name, digest, isolation);
            group.bench_function(BenchmarkId::new(*name, isolation), |bencher| {
                bencher.iter(|| bed.call(name, keys, arguments, &mut reply));
            });
        }
    }
    group.finish();
}
