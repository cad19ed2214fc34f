//! Loads over the number of functions that the registry has: each must cost as much as one function.

use std::fmt::Write as _;

use criterion::{BenchmarkId, Criterion};
use ferrite_runtime::RuntimeOptions;
use ferrite_runtime::policy::function_spec::Isolation;

use crate::bed::Bed;

/// A digest of no code, which is not loaded.
const DIGEST: &str = "blake3:0000000000000000000000000000000000000000000000000000000000000000";

/// Numbers of functions that are registered before.
const FUNCTIONS: [usize; 4] = [1, 100, 1_000, 9_999];

/// The registry's file with this number of functions, as older servers wrote it.
fn file(functions: usize) -> String {
    let mut text = r#"{"version":1,"functions":["#.to_owned();
    for number in 0..functions {
        let comma = if number > 0 { "," } else { "" };
        let record = format!(
            r#"{comma}{{"name":"function:{number:05}","digest":"{DIGEST}","permissions":{{}}}}"#
        );
        text.write_str(&record).expect("a string grows");
    }
    text.push_str("]}");
    text
}

pub(crate) fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("registry");
    group.sample_size(20);
    for functions in FUNCTIONS {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("functions.json");
        std::fs::write(&path, file(functions)).expect("written");
        let bed = Bed::with(RuntimeOptions {
            registry: Some(path),
            ..RuntimeOptions::default()
        });
        let digest = bed.publish(br#"(module (func (export "run")))"#);
        // The first change writes the file in its new form.
        bed.load("new", digest, Isolation::Fresh);
        group.bench_function(BenchmarkId::new("load", functions), |bencher| {
            bencher.iter(|| bed.load("new", digest, Isolation::Fresh));
        });
    }
    group.finish();
}
