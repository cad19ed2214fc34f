//! Allocations of a warm call, the embedded store's included: there are none, if its keys are there
//! already and its values are short.
//!
//! `rate_limit` and `validate_user` are the examples in Rust, which `cargo xtask examples` builds.

use std::future::Future;
use std::path::Path;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use ferrite_cache::{Cache, CacheOptions, Profile};
use ferrite_compiler::{Compiler, SourceLimits};
use ferrite_protocol::resp::{Encoder, Protocol};
use ferrite_runtime::artifact::source::Source;
use ferrite_runtime::policy::function_spec::Isolation;
use ferrite_runtime::policy::permissions::Permissions;
use ferrite_runtime::registry::record::FunctionName;
use ferrite_runtime::{CallRequest, LoadRequest, Runtime, RuntimeOptions};
use ferrite_store::{Store, StoreOptions};

/// Calls before the count begins, and calls that are counted.
const CALLS: u64 = 1_000;

/// Functions, with the keys and arguments of their calls.
const FUNCTIONS: &[(&str, &[&str], &[&str])] = &[
    ("noop", &[], &[]),
    ("get_set", &["bench:1"], &["0123456789abcdef"]),
    ("rate_limit", &["ratelimit:1"], &["1000000000", "60"]),
    ("validate_user", &["user:1"], &[r#"{"action":"login"}"#]),
];

#[test]
fn a_warm_call_allocates_nothing() {
    let seen = allocation_counter::measure(|| drop(Box::new([0_u8; 16])));
    assert_eq!(seen.count_total, 1, "allocations are counted");

    let folder = tempfile::tempdir().expect("a temporary folder");
    let cache = Cache::open(CacheOptions {
        root: folder.path().join("cache"),
        size_bytes_max: 1 << 30,
    })
    .expect("a new cache");
    let compiler =
        Compiler::new(&Profile::native(), SourceLimits::default()).expect("a known machine");
    let store = Store::in_memory(&StoreOptions::default());
    let runtime =
        Runtime::new(RuntimeOptions::default(), store, Some(cache.clone())).expect("a runtime");
    let mut reply = Encoder::new(Protocol::Resp2);
    let mut call = |name: &str, keys: &[&[u8]], arguments: &[&[u8]]| {
        reply.clear();
        let request = CallRequest::new(name.as_bytes(), keys, arguments);
        let outcome = finished(runtime.call(&request, &mut reply));
        assert!(outcome.error.is_none(), "{name}: {:?}", outcome.error);
    };
    let mut counted = Vec::new();
    for (name, keys, arguments) in FUNCTIONS {
        let compiled = compiler.compile(&source(name)).expect("a valid module");
        cache
            .publish_with_source(&compiled.wasm, &compiled.manifest, compiled.code())
            .expect("there is room");
        runtime
            .load(LoadRequest {
                name: FunctionName::parse(name.as_bytes()).expect("a name"),
                source: Source::Cached(compiled.manifest.source),
                file: None,
                description: None,
                permissions: Permissions::named("read-write"),
                limits: Default::default(),
                isolation: Some(Isolation::Rewind),
                config: None,
                replace: true,
                restored: false,
                declarations: None,
            })
            .expect("it was just compiled");
        let keys: Vec<&[u8]> = keys.iter().map(|key| key.as_bytes()).collect();
        let arguments: Vec<&[u8]> = arguments.iter().map(|text| text.as_bytes()).collect();
        for _ in 0..CALLS {
            call(name, &keys, &arguments);
        }
        let info = allocation_counter::measure(|| {
            for _ in 0..CALLS {
                call(name, &keys, &arguments);
            }
        });
        counted.push((*name, info.count_total));
    }
    let none = FUNCTIONS.iter().map(|(name, ..)| (*name, 0));
    assert_eq!(counted, none.collect::<Vec<_>>(), "in {CALLS} calls each");
}

/// The module of a function of the benchmarks, or of an example.
fn source(name: &str) -> Vec<u8> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = here.join("functions").join(name).with_extension("wat");
    let built = here
        .join("../target/examples")
        .join(name)
        .with_extension("wasm");
    std::fs::read(&text)
        .or_else(|_| std::fs::read(&built))
        .unwrap_or_else(|error| {
            panic!(
                "{}: {error}; `cargo xtask examples` builds it",
                built.display()
            )
        })
}

/// Runs a future that waits for nothing.
fn finished<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("a short call waits for nothing"),
    }
}
