//! Functions that share their code: what a further one costs to compile, to load and to call.
//!
//! JavaScript needs nothing but the compiler. `cargo xtask examples` builds the functions in Go and Python; those
//! that are missing are left out.

#![allow(clippy::print_stderr, reason = "a bench that is left out says why")]

use std::hint::black_box;
use std::path::Path;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion};
use ferrite_cache::{JavaScript, KnownEngine, Manifest};
use ferrite_compiler::{SourceLimits, to_wasm};
use ferrite_runtime::RuntimeOptions;
use ferrite_runtime::policy::function_spec::Isolation;
use ferrite_runtime::policy::limits::Limits;

use crate::bed::{Bed, encoder};

/// A program that does next to nothing.
const NOTHING: &str = "export function nothing() { return 1 }";

/// A program with other functions and more memory.
const OTHER: &str = "const table = new Map(); for (let i = 0; i < 1000; i++) table.set(i, `${i}`);
    export function get() { return table.get(7) }
    export function size() { return table.size }";

/// A function of the examples.
struct Example {
    name: &'static str,
    file: &'static str,
}

const EXAMPLES: [Example; 2] = [
    Example {
        name: "go",
        file: "../target/examples/go.wasm",
    },
    Example {
        name: "python",
        file: "../target/examples/python.wasm",
    },
];

pub(crate) fn bench(criterion: &mut Criterion) {
    // Python needs more than the defaults.
    let bed = Bed::with(RuntimeOptions {
        limits: Limits {
            memory_bytes_max: 64 << 20,
            fuel_max: 1 << 40,
            ..Limits::DEFAULT
        },
        ..RuntimeOptions::default()
    });
    let mut group = criterion.benchmark_group("images");
    group
        .sample_size(10)
        .measurement_time(Duration::from_secs(8));
    let first = program(NOTHING);
    group.bench_function("evaluate/javascript", |bencher| {
        bencher.iter(|| program(black_box(OTHER)));
    });
    group.bench_function("compile/javascript, first", |bencher| {
        bencher.iter(|| bed.compile(black_box(&first), &[]));
    });
    let compiled = bed.compile(&first, &[]);
    let known = engine(&compiled.manifest);
    let other = program(OTHER);
    group.bench_function("compile/javascript, further", |bencher| {
        bencher.iter(|| bed.compile(black_box(&other), &known));
    });
    let nothing = bed.publish_compiled(&compiled);
    let other = bed.publish(&other);
    // It keeps the engine loaded.
    bed.load("other", other, Isolation::Rewind);
    group.bench_function("load/javascript, further", |bencher| {
        bencher.iter(|| bed.load("nothing", nothing, Isolation::Rewind));
    });

    let mut functions = vec![(
        "javascript",
        nothing,
        "nothing",
        [].as_slice(),
        [].as_slice(),
    )];
    for Example { name, file } in EXAMPLES {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
        let source = match std::fs::read(&path) {
            Ok(source) => source,
            Err(error) => {
                eprintln!("note: without {name}: {}: {error}", path.display());
                continue;
            }
        };
        let compiled = bed.compile(&source, &[]);
        let known = engine(&compiled.manifest);
        group.bench_function(format!("compile/{name}, further"), |bencher| {
            bencher.iter(|| bed.compile(black_box(&source), &known));
        });
        let digest = bed.publish_compiled(&compiled);
        let before = format!("{name}-before");
        bed.load(&before, digest, Isolation::Rewind);
        group.bench_function(format!("load/{name}, further"), |bencher| {
            bencher.iter(|| bed.load(name, digest, Isolation::Rewind));
        });
        let keys: &[&[u8]] = &[b"bench:limit"];
        let args: &[&[u8]] = &[b"1000000000", b"60"];
        functions.push((name, digest, "rate_limit", keys, args));
    }
    group.finish();

    let mut group = criterion.benchmark_group("images");
    let mut reply = encoder();
    for (name, digest, entry, keys, args) in functions {
        for isolation in [Isolation::Rewind, Isolation::Fresh] {
            bed.load(name, digest, isolation);
            let function = format!("{name}.{entry}");
            group.bench_function(
                BenchmarkId::new(format!("call/{name}"), isolation),
                |bencher| {
                    bencher.iter(|| bed.call(&function, keys, args, &mut reply));
                },
            );
        }
    }
    group.finish();
}

/// Makes a module of a program in JavaScript.
fn program(source: &str) -> Vec<u8> {
    let encoded = JavaScript {
        name: "bench.js",
        positions: &[],
        source: source.as_bytes(),
    }
    .encode();
    to_wasm(&encoded, &SourceLimits::default())
        .expect("it is right")
        .into_owned()
}

/// Returns the engine of compiled code, if it has one.
fn engine(manifest: &Manifest) -> Vec<KnownEngine> {
    let known = |image: &ferrite_cache::ImageInfo| KnownEngine {
        engine: image.engine,
        native: manifest.artifact,
        native_len: manifest.artifact_len,
    };
    manifest.image.iter().map(known).collect()
}
