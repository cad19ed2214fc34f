//! A whole runtime over the embedded store and a cache of its own, with a compiler at hand.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use ferrite_cache::{Cache, CacheOptions, Digest, Profile};
use ferrite_compiler::{Bounds, Compiler};
use ferrite_protocol::resp::{Encoder, Protocol};
use ferrite_runtime::artifact::source::Source;
use ferrite_runtime::policy::function_spec::Isolation;
use ferrite_runtime::policy::permissions::Permissions;
use ferrite_runtime::registry::record::FunctionName;
use ferrite_runtime::{CallRequest, LoadRequest, Runtime, RuntimeOptions};
use ferrite_store::{Store, StoreOptions};
use tempfile::TempDir;

/// The runtime and what it stands on.
pub(crate) struct Bed {
    pub(crate) runtime: Runtime<Store>,
    pub(crate) cache: Cache,
    pub(crate) profile: Profile,
    compiler: Compiler,
    _folder: TempDir,
}

impl Bed {
    /// An empty one.
    pub(crate) fn new() -> Self {
        Self::with(RuntimeOptions::default())
    }

    /// An empty one whose runtime is set up like this.
    pub(crate) fn with(options: RuntimeOptions) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let cache_options = CacheOptions {
            root: folder.path().join("cache"),
            size_bytes_max: 1 << 30,
        };
        let cache = Cache::open(cache_options).expect("a new cache");
        let profile = Profile::native();
        let compiler =
            Compiler::new(&profile, Bounds::default()).expect("this machine is supported");
        let store = Store::in_memory(&StoreOptions::default());
        let runtime = Runtime::new(options, store, Some(cache.clone())).expect("a runtime");
        Self {
            runtime,
            cache,
            profile,
            compiler,
            _folder: folder,
        }
    }

    /// Compile a module, binary or text, and publish it.
    pub(crate) fn publish(&self, source: &[u8]) -> Digest {
        let compiled = self.compiler.compile(source).expect("a valid module");
        self.cache
            .put_source(&compiled.wasm)
            .expect("room for the source");
        self.cache
            .publish(&compiled.manifest, &compiled.artifact)
            .expect("room for the artifact");
        compiled.manifest.source
    }

    /// Load a function out of the cache; it may do everything.
    pub(crate) fn load(&self, name: &str, digest: Digest, isolation: Isolation) {
        let request = LoadRequest {
            name: FunctionName::parse(name.as_bytes()).expect("a name"),
            source: Source::Cached(digest),
            file: None,
            description: None,
            permissions: Permissions::named("read-write"),
            limits: Default::default(),
            isolation: Some(isolation),
            replace: true,
        };
        self.runtime
            .load(request)
            .expect("an artifact that was just published");
    }

    /// Call a function; its reply must not be an error.
    pub(crate) fn call(&self, name: &str, keys: &[&[u8]], args: &[&[u8]], reply: &mut Encoder) {
        reply.clear();
        let request = CallRequest::new(name.as_bytes(), keys, args);
        let outcome = block_on(self.runtime.call(&request, reply));
        assert!(
            outcome.error.is_none(),
            "{name} failed: {:?}",
            outcome.error
        );
    }
}

/// Where replies go.
pub(crate) fn encoder() -> Encoder {
    Encoder::new(Protocol::Resp2)
}

/// Drive a future that waits for nothing but its turn.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return value;
        }
    }
}
