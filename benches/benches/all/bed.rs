//! A test bed: a runtime over the embedded store, with a cache of its own and a compiler.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use ferrite_cache::{Cache, CacheOptions, Digest, KnownEngine, Profile};
use ferrite_compiler::{Compiled, Compiler, SourceLimits};
use ferrite_protocol::resp::{Encoder, Protocol};
use ferrite_runtime::artifact::source::Source;
use ferrite_runtime::policy::function_spec::Isolation;
use ferrite_runtime::policy::permissions::Permissions;
use ferrite_runtime::registry::record::FunctionName;
use ferrite_runtime::{CallRequest, LoadRequest, Runtime, RuntimeOptions};
use ferrite_store::{Store, StoreOptions};
use tempfile::TempDir;

/// A runtime with its cache and compiler.
pub(crate) struct Bed {
    pub(crate) runtime: Runtime<Store>,
    pub(crate) cache: Cache,
    pub(crate) profile: Profile,
    compiler: Compiler,
    _folder: TempDir,
}

impl Bed {
    /// Makes a bed without functions.
    pub(crate) fn new() -> Self {
        Self::with(RuntimeOptions::default())
    }

    /// Makes a bed without functions, whose runtime has these options.
    pub(crate) fn with(options: RuntimeOptions) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let cache_options = CacheOptions {
            root: folder.path().join("cache"),
            size_bytes_max: 1 << 30,
        };
        let cache = Cache::open(cache_options).expect("a new cache");
        let profile = Profile::native();
        let compiler =
            Compiler::new(&profile, SourceLimits::default()).expect("this machine is supported");
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

    /// Compiles a module, binary or text, and publishes it in the cache.
    pub(crate) fn publish(&self, source: &[u8]) -> Digest {
        self.publish_compiled(&self.compile(source, &[]))
    }

    /// Compiles a module, without the native code of these engines.
    pub(crate) fn compile(&self, source: &[u8], engines: &[KnownEngine]) -> Compiled {
        self.compiler
            .compile_unless_known(source, engines)
            .expect("a valid module")
    }

    /// Publishes a compiled module in the cache.
    pub(crate) fn publish_compiled(&self, compiled: &Compiled) -> Digest {
        self.cache
            .publish_with_source(&compiled.wasm, &compiled.manifest, compiled.code())
            .expect("room for the artifact");
        compiled.manifest.source
    }

    /// Loads a function from the cache, with all permissions.
    pub(crate) fn load(&self, name: &str, digest: Digest, isolation: Isolation) {
        let request = LoadRequest {
            name: FunctionName::parse(name.as_bytes()).expect("a name"),
            source: Source::Cached(digest),
            file: None,
            description: None,
            permissions: Permissions::named("read-write"),
            limits: Default::default(),
            isolation: Some(isolation),
            config: None,
            replace: true,
            restored: false,
            declarations: None,
        };
        self.runtime
            .load(request)
            .expect("an artifact that was just published");
    }

    /// Calls a function; panics if its reply is an error.
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

/// Returns an encoder for replies.
pub(crate) fn encoder() -> Encoder {
    Encoder::new(Protocol::Resp2)
}

/// Runs a future to its end. The future must not wait for other threads or for I/O.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return value;
        }
    }
}
