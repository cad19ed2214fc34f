//! The cost of isolation: the same calls with rewind, fresh and reuse, on one thread and on two.
//!
//! The functions are small ones in text, and the examples that `cargo xtask examples` builds in
//! `target/examples`; missing examples are skipped.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion};
use ferrite_runtime::policy::function_spec::Isolation;

use crate::bed::{Bed, encoder};

/// Threads of the second table.
const THREADS: u32 = 2;

/// A function, and the input of its call.
struct Case {
    name: &'static str,
    /// Its file, below the folder of the benchmarks.
    file: &'static str,
    /// The entry to call, if there are several.
    entry: &'static str,
    /// True if it frees its allocations; a function that does not cannot be reused without end.
    frees: bool,
    /// Its key, if it takes one; each thread adds its number.
    key: Option<&'static str>,
    arguments: &'static [&'static [u8]],
}

const LOGIN: &[u8] = br#"{"action": "login"}"#;
const RATE: &[&[u8]] = &[b"1000000000", b"60"];

const CASES: &[Case] = &[
    Case {
        name: "no-op",
        file: "functions/noop.wat",
        entry: "",
        frees: true,
        key: None,
        arguments: &[],
    },
    Case {
        name: "get + set",
        file: "functions/get_set.wat",
        entry: "",
        frees: true,
        key: Some("bench:key"),
        arguments: &[b"0123456789abcdef"],
    },
    Case {
        name: "Rust, rate_limit",
        file: "../target/examples/rate_limit.wasm",
        entry: "",
        frees: true,
        key: Some("ratelimit:rust"),
        arguments: RATE,
    },
    Case {
        name: "Rust with serde_json, validate_user",
        file: "../target/examples/validate_user.wasm",
        entry: "",
        frees: true,
        key: Some("user:12"),
        arguments: &[LOGIN],
    },
    Case {
        name: "AssemblyScript, rate_limit",
        file: "../target/examples/assemblyscript.wasm",
        entry: ".rate_limit",
        frees: false,
        key: Some("ratelimit:as"),
        arguments: RATE,
    },
    Case {
        name: "C, rate_limit",
        file: "../target/examples/c_functions.wasm",
        entry: ".rate_limit",
        frees: true,
        key: Some("ratelimit:c"),
        arguments: RATE,
    },
    Case {
        name: "Go, rate_limit",
        file: "../target/examples/go.wasm",
        entry: ".rate_limit",
        frees: true,
        key: Some("ratelimit:go"),
        arguments: RATE,
    },
];

/// Writes the users that `validate_user` reads.
const SEED: &str = r#"(module
    (import "ferrite" "hset" (func $hset (param i32 i32 i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 0) "user:120user:121")
    (data (i32.const 16) "status")
    (data (i32.const 32) "active")
    (func (export "run") (result i32)
        (drop (call $hset (i32.const 0) (i32.const 8) (i32.const 16) (i32.const 6)
            (i32.const 32) (i32.const 6)))
        (call $hset (i32.const 8) (i32.const 8) (i32.const 16) (i32.const 6)
            (i32.const 32) (i32.const 6))))"#;

pub(crate) fn bench(criterion: &mut Criterion) {
    let bed = Bed::new();
    bed.load("seed", bed.publish(SEED.as_bytes()), Isolation::Fresh);
    bed.call("seed", &[], &[], &mut encoder());
    for threads in [1, THREADS] {
        let group = format!("isolation, {threads} threads");
        let mut group = criterion.benchmark_group(group);
        for case in CASES {
            let path = path(case);
            let Ok(source) = std::fs::read(&path) else {
                continue;
            };
            let digest = bed.publish(&source);
            for isolation in Isolation::ALL {
                if isolation == Isolation::Reuse && !case.frees {
                    continue;
                }
                bed.load("f", digest, isolation);
                let function = format!("f{}", case.entry);
                group.bench_function(BenchmarkId::new(case.name, isolation), |bencher| {
                    bencher
                        .iter_custom(|calls| side_by_side(&bed, case, &function, threads, calls));
                });
            }
        }
        group.finish();
    }
}

fn path(case: &Case) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(case.file)
}

/// Returns the time that `calls` calls take, spread over the threads.
fn side_by_side(bed: &Bed, case: &Case, function: &str, threads: u32, calls: u64) -> Duration {
    let run = |thread: u32, calls: u64| {
        let mut reply = encoder();
        let key = case.key.map(|key| format!("{key}{thread}"));
        let keys: Vec<&[u8]> = key.iter().map(String::as_bytes).collect();
        for _ in 0..calls {
            bed.call(function, &keys, case.arguments, &mut reply);
        }
    };
    let started = Instant::now();
    if threads == 1 {
        run(0, calls);
    } else {
        let each = calls.div_ceil(u64::from(threads));
        thread::scope(|scope| {
            for thread in 0..threads {
                let run = &run;
                scope.spawn(move || run(thread, each));
            }
        });
    }
    started.elapsed()
}
