//! Functions by name: commands, reloads under load, the registry, calls in the background.

mod background;
mod commands;
mod depth;
mod kept_files;
mod profile;
mod registry;
mod reload;

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use ferrite_cache::{Cache, CacheOptions, Digest, Profile};
use ferrite_compiler::{Compiler, SourceLimits};
use ferrite_protocol::resp::{Encoder, Protocol};
use ferrite_runtime::artifact::compile_worker::WorkerOptions;
use ferrite_runtime::artifact::source::SourceOptions;
use ferrite_runtime::commands::{Outcome, Runs, Scope, find};
use ferrite_runtime::{Runtime, RuntimeOptions, StartError};
use tempfile::TempDir;

use crate::support::keyspace::MemoryKeyspace;

/// Adds one; uses only numbers.
pub(super) const ADD_ONE: &str = r#"(module (func (export "run") (param i64) (result i64)
    local.get 0 i64.const 1 i64.add))"#;

/// Never ends by itself.
pub(super) const ENDLESS: &str = r#"(module (func (export "run") (loop $again br $again)))"#;

/// A host with its own folder for cache, modules and registry.
pub(super) struct Managed {
    folder: TempDir,
    pub(super) runtime: Runtime<MemoryKeyspace>,
}

impl Managed {
    pub(super) fn new() -> Self {
        Self::with(|_| ())
    }

    pub(super) fn with(adjust: impl FnOnce(&mut RuntimeOptions)) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join("modules")).expect("a folder in it");
        let runtime = start(folder.path(), adjust).expect("it starts");
        Self { folder, runtime }
    }

    /// Starts another process on the same folder, after this one has ended.
    pub(super) fn restart(self) -> Result<Self, StartError> {
        self.restart_with(|_| ())
    }

    /// Does the same with other options.
    pub(super) fn restart_with(
        self,
        adjust: impl FnOnce(&mut RuntimeOptions),
    ) -> Result<Self, StartError> {
        let Self { folder, runtime } = self;
        drop(runtime);
        let runtime = start(folder.path(), adjust)?;
        Ok(Self { folder, runtime })
    }

    pub(super) fn modules(&self) -> PathBuf {
        self.folder.path().join("modules")
    }

    pub(super) fn registry_path(&self) -> PathBuf {
        self.folder.path().join("functions.json")
    }

    /// Compiles a module into the cache, as `ferrite-wasmc compile` does.
    pub(super) fn compile(&self, wat: &str) -> Digest {
        let cache = self.runtime.cache().expect("there is a cache");
        compile_into(cache, wat)
    }

    /// Compiles a module as `ferrite-wasmc compile --stack-depth` does.
    pub(super) fn compile_counting(&self, wat: &str) -> Digest {
        let cache = self.runtime.cache().expect("there is a cache");
        let profile = Profile::native().with_stack_depth(true);
        let compiler =
            Compiler::new(&profile, SourceLimits::default()).expect("this machine is one");
        compile_by(&compiler, cache, wat)
    }

    /// Runs a command in RESP2 and shows its reply with blanks for line ends.
    pub(super) async fn run(&self, words: &[&[u8]]) -> String {
        let (text, outcome) = self.run_in(Protocol::Resp2, words).await;
        assert!(matches!(outcome, Outcome::Done(_)), "{text}");
        text
    }

    /// Does the same as `run`, for words without blanks.
    pub(super) async fn say(&self, request: &str) -> String {
        let words: Vec<&[u8]> = request.split(' ').map(str::as_bytes).collect();
        self.run(&words).await
    }

    pub(super) async fn run_in(
        &self,
        protocol: Protocol,
        words: &[&[u8]],
    ) -> (String, Outcome<MemoryKeyspace>) {
        let mut reply = Encoder::new(protocol);
        reply.raw(b"before");
        let outcome = match find(words[0]).map(|spec| (spec, spec.read(words))) {
            Some((spec, Ok(command))) if spec.runs == Runs::Blocking => {
                let scope = Scope::default();
                self.runtime.run_blocking(command, scope, &mut reply);
                Outcome::Done(None)
            }
            Some((_, Ok(command))) => {
                self.runtime
                    .run(command, Scope::default(), &mut reply)
                    .await
            }
            Some((_, Err(error))) => {
                reply.error_display(&error);
                Outcome::Done(None)
            }
            None => panic!("no such command"),
        };
        let text = String::from_utf8_lossy(reply.bytes()).replace("\r\n", " ");
        let text = text.strip_prefix("before").expect("what was there stays");
        (text.trim_end().to_owned(), outcome)
    }

    /// Compiles and loads a function, with further options.
    pub(super) async fn load(&self, name: &str, wat: &str, options: &str) -> Digest {
        let digest = self.compile(wat);
        let request = format!("WASM.LOAD {name} {digest} {options}");
        let reply = self.say(request.trim_end()).await;
        assert_eq!(reply, format!("$71 {digest}"));
        digest
    }
}

fn start(
    folder: &Path,
    adjust: impl FnOnce(&mut RuntimeOptions),
) -> Result<Runtime<MemoryKeyspace>, StartError> {
    let mut options = RuntimeOptions {
        source: SourceOptions {
            module_dir: Some(folder.join("modules")),
            ..SourceOptions::default()
        },
        worker: WorkerOptions {
            program: Some(PathBuf::from("/nonexistent/ferrite-wasmc")),
            ..WorkerOptions::default()
        },
        registry: Some(folder.join("functions.json")),
        ..RuntimeOptions::default()
    };
    options.engine.instances_max = 64;
    adjust(&mut options);
    let cache = Cache::open(CacheOptions {
        root: folder.join("cache"),
        size_bytes_max: 1 << 30,
    });
    Runtime::new(
        options,
        MemoryKeyspace::default(),
        Some(cache.expect("the folder is ours")),
    )
}

pub(super) fn compile_into(cache: &Cache, wat: &str) -> Digest {
    static COMPILER: OnceLock<Compiler> = OnceLock::new();
    let compiler = COMPILER.get_or_init(|| {
        Compiler::new(&Profile::native(), SourceLimits::default())
            .expect("this machine is a target")
    });
    compile_by(compiler, cache, wat)
}

fn compile_by(compiler: &Compiler, cache: &Cache, wat: &str) -> Digest {
    let compiled = compiler
        .compile(wat.as_bytes())
        .unwrap_or_else(|error| panic!("{error}\n{wat}"));
    cache
        .publish_with_source(&compiled.wasm, &compiled.manifest, compiled.code())
        .expect("the disk works");
    compiled.manifest.source
}
