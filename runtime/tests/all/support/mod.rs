//! Shared parts of the tests: a host with an in-memory keyspace, and guests in WebAssembly text.

pub(crate) mod adapter;
pub(crate) mod keyspace;
pub(crate) mod number;

use std::fmt::Write as _;
use std::sync::OnceLock;
use std::time::Duration;

use ferrite_cache::{Profile, VerifiedArtifact};
use ferrite_compiler::{Compiler, SourceLimits};
use ferrite_protocol::keyspace::Keyspace as _;
use ferrite_protocol::resp::{Encoder, Protocol};
use ferrite_runtime::call::request::{CallOutcome, CallRequest};
use ferrite_runtime::error::CallError;
use ferrite_runtime::instance::engine::EngineOptions;
use ferrite_runtime::policy::function_config::FunctionConfig;
use ferrite_runtime::policy::function_spec::{FunctionSpec, Isolation};
use ferrite_runtime::policy::limits::Limits;
use ferrite_runtime::policy::permissions::{AccessPolicy, Permissions};
use ferrite_runtime::scheduling::pool::PoolOptions;
use ferrite_runtime::{HeldFunction, Runtime, RuntimeOptions};
use ferrite_wasm_abi::{IMPORTS, MODULE};

use keyspace::MemoryKeyspace;

/// A host to run functions on.
pub(crate) struct Host {
    pub(crate) runtime: Runtime<MemoryKeyspace>,
    pub(crate) keyspace: MemoryKeyspace,
}

pub(crate) type TestFunction = HeldFunction<MemoryKeyspace>;

impl Host {
    pub(crate) fn new() -> Self {
        Self::with_instances(16)
    }

    pub(crate) fn with_instances(instances_max: u32) -> Self {
        Self::with_options(&EngineOptions {
            instances_max,
            verify_rewinding: true,
            ..EngineOptions::default()
        })
    }

    pub(crate) fn with_options(options: &EngineOptions) -> Self {
        Self::with_runtime(RuntimeOptions {
            engine: *options,
            ..RuntimeOptions::default()
        })
    }

    pub(crate) fn with_runtime(options: RuntimeOptions) -> Self {
        let runtime =
            Runtime::new(options, MemoryKeyspace::default(), None).expect("there is room");
        let keyspace = runtime.keyspace().clone();
        Self { runtime, keyspace }
    }

    /// Loads a function named `test` that may read and write.
    pub(crate) fn load(&self, wat: &str) -> TestFunction {
        self.load_with(wat, |_| ())
    }

    pub(crate) fn load_reusing(&self, wat: &str) -> TestFunction {
        self.load_with(wat, |spec| spec.isolation = Isolation::Reuse)
    }

    pub(crate) fn load_with(
        &self,
        wat: &str,
        adjust: impl FnOnce(&mut FunctionSpec),
    ) -> TestFunction {
        self.try_load(wat, adjust).expect("the function loads")
    }

    pub(crate) fn try_load(
        &self,
        wat: &str,
        adjust: impl FnOnce(&mut FunctionSpec),
    ) -> Result<TestFunction, CallError> {
        let mut spec = spec();
        adjust(&mut spec);
        spec.access_policy =
            AccessPolicy::new(&spec.permissions, |name| self.keyspace.is_command(name))
                .expect("the test's permissions are right");
        let artifact = match spec.limits.stack_depth_max {
            Some(_) => counting_artifact(wat),
            None => artifact(wat),
        };
        self.runtime.hold(&artifact, spec)
    }

    pub(crate) async fn call(
        &self,
        function: &TestFunction,
        keys: &[&str],
        args: &[&str],
    ) -> String {
        self.call_in(Protocol::Resp3, function, keys, args).await
    }

    pub(crate) async fn call_in(
        &self,
        protocol: Protocol,
        function: &TestFunction,
        keys: &[&str],
        args: &[&str],
    ) -> String {
        let keys: Vec<_> = keys.iter().map(|key| key.as_bytes()).collect();
        let args: Vec<_> = args.iter().map(|arg| arg.as_bytes()).collect();
        let request = CallRequest::new(b"test", &keys, &args);
        self.request(protocol, function, &request).await.0
    }

    /// Runs a call of `function` at the entry that `request` names.
    pub(crate) async fn run(
        &self,
        function: &TestFunction,
        request: &CallRequest<'_>,
        reply: &mut Encoder,
    ) -> CallOutcome<u64> {
        let entry = function.entry_named(request.name_and_entry().1);
        self.runtime
            .call(&request.with_function(entry), reply)
            .await
    }

    /// Returns the reply with blanks for line ends, and the outcome of the call.
    pub(crate) async fn request(
        &self,
        protocol: Protocol,
        function: &TestFunction,
        request: &CallRequest<'_>,
    ) -> (String, CallOutcome<u64>) {
        let mut reply = Encoder::new(protocol);
        reply.raw(b"before");
        let outcome = self.run(function, request, &mut reply).await;
        let text = String::from_utf8_lossy(reply.bytes()).replace("\r\n", " ");
        let text = text.strip_prefix("before").expect("what was there stays");
        (text.trim_end().to_owned(), outcome)
    }
}

pub(crate) fn spec() -> FunctionSpec {
    let permissions = Permissions {
        allow_write: true,
        ..Permissions::default()
    };
    FunctionSpec {
        name: "test".into(),
        registered: false,
        description: None,
        access_policy: AccessPolicy::new(&permissions, |_| true)
            .expect("these permissions are right"),
        permissions,
        directories: [].into(),
        kept: None,
        // Enough for an emulator and a busy machine: a test of this limit sets its own.
        limits: Limits {
            time_max: Duration::from_secs(600),
            ..Limits::DEFAULT
        },
        isolation: Isolation::default(),
        config: FunctionConfig::default(),
        pool: PoolOptions::default(),
    }
}

/// Compiles a module as the pipeline does.
pub(crate) fn artifact(wat: &str) -> VerifiedArtifact {
    static COMPILER: OnceLock<Compiler> = OnceLock::new();
    compiled(&COMPILER, &Profile::native(), wat)
}

/// Compiles a module with a counter of nested calls.
pub(crate) fn counting_artifact(wat: &str) -> VerifiedArtifact {
    static COMPILER: OnceLock<Compiler> = OnceLock::new();
    compiled(&COMPILER, &Profile::native().with_stack_depth(true), wat)
}

fn compiled(compiler: &OnceLock<Compiler>, profile: &Profile, wat: &str) -> VerifiedArtifact {
    let compiler = compiler.get_or_init(|| {
        Compiler::new(profile, SourceLimits::default()).expect("this machine is a target")
    });
    let compiled = compiler
        .compile(wat.as_bytes())
        .unwrap_or_else(|error| panic!("{error}\n{wat}"));
    VerifiedArtifact::in_memory(compiled.manifest.clone(), compiled.code())
        .expect("the manifest is the artifact's own")
}

/// A module that imports every host function under its own name, has a page of memory, and
/// contains `body`.
pub(crate) fn guest(body: &str) -> String {
    let mut wat = String::from("(module\n");
    for import in IMPORTS {
        let params: Vec<_> = import.params.iter().map(|ty| ty.name()).collect();
        let result = import
            .result
            .map_or(String::new(), |ty| format!("(result {})", ty.name()));
        let name = import.name;
        writeln!(
            wat,
            r#"(import "{MODULE}" "{name}" (func ${name} (param {}) {result}))"#,
            params.join(" "),
        )
        .expect("writing to a string");
    }
    wat.push_str("(memory (export \"memory\") 1)\n");
    wat.push_str(body);
    wat.push(')');
    wat
}

/// A guest with this body as its entry `run`.
pub(crate) fn run(body: &str) -> String {
    guest(&format!("(func (export \"run\") {body})"))
}
