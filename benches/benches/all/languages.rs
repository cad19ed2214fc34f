//! Calls of functions in JavaScript and Python, under each isolation.
//!
//! `cargo xtask bench` builds the functions in Python; without them those in JavaScript are measured alone.

#![allow(clippy::print_stderr, reason = "a bench that is left out says why")]

use std::path::Path;

use criterion::Criterion;
use ferrite_cache::JavaScript;
use ferrite_runtime::RuntimeOptions;
use ferrite_runtime::policy::function_spec::Isolation;
use ferrite_runtime::policy::limits::Limits;

use crate::bed::{Bed, encoder};

/// The functions in JavaScript.
const PROGRAM: &[u8] = include_bytes!("../../functions/languages/functions.js");

/// The functions in Python, built.
const PYTHON: &str = "../target/bench/languages.wasm";

/// An entry, with the keys and arguments of its calls.
type Called<'a> = (&'a str, &'a [&'a [u8]], &'a [&'a [u8]]);

pub(crate) fn bench(criterion: &mut Criterion) {
    let bed = Bed::with(RuntimeOptions {
        limits: Limits {
            memory_bytes_max: 64 << 20,
            fuel_max: 1 << 40,
            ..Limits::DEFAULT
        },
        ..RuntimeOptions::default()
    });
    let encoded = JavaScript {
        name: "functions.js",
        positions: &[],
        source: PROGRAM,
    }
    .encode();
    let mut languages = vec![("javascript", bed.publish(&encoded))];
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(PYTHON);
    match std::fs::read(&path) {
        Ok(source) => languages.push(("python", bed.publish(&source))),
        Err(error) => eprintln!("note: without Python: {}: {error}", path.display()),
    }

    let document = document();
    let key: &[&[u8]] = &[b"bench:key"];
    let calls: [Called<'_>; 3] = [
        ("nothing", &[], &[]),
        ("get_set", key, &[b"0123456789abcdef"]),
        ("json", &[], &[document.as_bytes()]),
    ];
    let mut group = criterion.benchmark_group("languages");
    let mut reply = encoder();
    for (language, digest) in languages {
        for isolation in [Isolation::Rewind, Isolation::Fresh, Isolation::Reuse] {
            bed.load(language, digest, isolation);
            for (entry, keys, args) in calls {
                let function = format!("{language}.{entry}");
                group.bench_function(format!("{language}/{entry}/{isolation}"), |bencher| {
                    bencher.iter(|| bed.call(&function, keys, args, &mut reply));
                });
            }
        }
    }
    group.finish();
}

/// A document of 2.3 KB.
fn document() -> String {
    let order = |number: usize| {
        format!(
            r#"{{"id":"order-{number:04}","article":"a thing with a name","price":{}.5,"count":{}}}"#,
            number % 90 + 10,
            number % 7 + 1
        )
    };
    let orders: Vec<_> = (0..30).map(order).collect();
    format!(
        r#"{{"customer":"someone","orders":[{}]}}"#,
        orders.join(",")
    )
}
