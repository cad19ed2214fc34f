//! Calls in fresh instances of a module with a slow start: run in each instance, or
//! pre-initialised.
//!
//! Pre-initialisation is meant for functions in Go, which `cargo xtask examples go` builds. Without
//! them, the benchmark uses a module whose start fills a megabyte of memory.

#![allow(clippy::print_stderr, reason = "a bench that is left out says why")]

use std::path::Path;

use criterion::{BenchmarkId, Criterion};
use ferrite_compiler::{Compiler, PreinitChoice, SourceLimits};
use ferrite_runtime::policy::function_spec::Isolation;

use crate::bed::{Bed, encoder};

/// A start that writes 256 pages' worth of words, and an entry that reads one.
const COSTLY: &str = r#"(module
  (memory (export "memory") 17)
  (func (export "_initialize") (local $at i32)
    (loop $next
      (i32.store (local.get $at) (i32.add (local.get $at) (i32.const 1)))
      (local.set $at (i32.add (local.get $at) (i32.const 4)))
      (br_if $next (i32.lt_u (local.get $at) (i32.const 1048576)))))
  (func (export "run") (result i32) (i32.load (i32.const 65536))))"#;

/// The file of the functions in Go that `cargo xtask examples` builds.
const GO: &str = "../target/examples/go.wasm";

pub(crate) fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("preinit");
    let costly = (b"costly".as_slice(), COSTLY.as_bytes().to_vec());
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(GO);
    let go = match std::fs::read(&path) {
        Ok(wasm) => Some((b"go.rate_limit".as_slice(), wasm)),
        Err(error) => {
            eprintln!(
                "note: without the functions in Go: {}: {error}",
                path.display()
            );
            None
        }
    };
    for (function, source) in [Some(costly), go].into_iter().flatten() {
        let name = function
            .split(|&byte| byte == b'.')
            .next()
            .unwrap_or_default();
        let name = std::str::from_utf8(name).expect("the names are text");
        let whole = std::str::from_utf8(function).expect("the names are text");
        let (keys, args): (&[&[u8]], &[&[u8]]) = match name {
            "go" => (&[b"bench:limit"], &[b"1000000000", b"60"]),
            _ => (&[], &[]),
        };
        for (how, choice) in [
            ("in_each_instance", PreinitChoice::Never),
            ("beforehand", PreinitChoice::Always),
        ] {
            // A cache of its own: it holds one artifact of a source under a profile.
            let bed = Bed::new();
            let compiled = Compiler::new(&bed.profile, SourceLimits::default())
                .expect("this machine is supported")
                .with_preinit(choice)
                .compile(&source)
                .expect("a valid module");
            bed.cache
                .publish_with_source(&compiled.wasm, &compiled.manifest, compiled.code())
                .expect("room for the artifact");
            let mut reply = encoder();
            for isolation in [Isolation::Fresh, Isolation::Rewind] {
                bed.load(name, compiled.manifest.source, isolation);
                let id = BenchmarkId::new(format!("{name}/{isolation}"), how);
                group.bench_function(id, |bencher| {
                    bencher.iter(|| bed.call(whole, keys, args, &mut reply));
                });
            }
        }
    }
    group.finish();
}
