//! Runs one script of the suite.

use std::collections::{BTreeMap, HashMap};

use ferrite_cache::{Cache, CacheOptions, Digest, Profile, VerifiedArtifact};
use ferrite_compiler::{CompileError, Compiler, SourceLimits};
use ferrite_protocol::resp::Protocol;
use ferrite_runtime::call::request::CallRequest;
use ferrite_runtime::instance::engine::EngineOptions;
use ferrite_runtime::policy::function_spec::Isolation;
use wasmtime::{Engine, Instance, Module, Store};
use wast::{QuoteWat, QuoteWatTest, WastDirective, WastExecute, WastInvoke, Wat};

use super::outcome::{Expected, Outcome, same};
use super::values::{Pattern, of_arg};
use crate::support::adapter::Adapter;
use crate::support::number::Number;
use crate::support::{Host, TestFunction, spec};

/// The outcome of a script's assertions: how many hold, by kind, and how many were not run, by reason.
pub(super) type Counts = BTreeMap<&'static str, u32>;

/// Everything that scripts run on.
pub(super) struct Machine {
    compiler: Compiler,
    cache: Cache,
    _folder: tempfile::TempDir,
    profile: Profile,
    /// Compares each rewound instance with its snapshot.
    host: Host,
    /// Does not, for large memories.
    large: Host,
    /// Runs modules as they are.
    plain: Engine,
}

/// Pages from which on a memory is large.
const LARGE_PAGES: u64 = 64;

impl Machine {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().expect("there is room");
        let profile = Profile::native();
        let options = EngineOptions {
            instances_max: 8,
            memory_bytes_max: 4 << 30,
            table_elements_max: 100_000,
            verify_rewinding: true,
        };
        Self {
            compiler: Compiler::new(&profile, SourceLimits::default())
                .expect("this machine is a target"),
            cache: Cache::open(CacheOptions {
                root: folder.path().join("cache"),
                size_bytes_max: 1 << 30,
            })
            .expect("the cache opens"),
            _folder: folder,
            profile,
            host: Host::with_options(&options),
            large: Host::with_options(&EngineOptions {
                verify_rewinding: false,
                ..options
            }),
            plain: Engine::default(),
        }
    }

    /// Compiles a source into the cache, and takes it from there.
    fn artifact(&self, source: &[u8]) -> Result<VerifiedArtifact, CompileError> {
        let compiled = self.compiler.compile(source)?;
        self.cache
            .publish(&compiled.manifest, compiled.code())
            .expect("the cache takes it");
        let digest = Digest::of(&compiled.wasm);
        let found = self.cache.lookup(&digest, &self.profile);
        Ok(found
            .expect("the cache can be read")
            .expect("it was published"))
    }

    /// Loads a module with all of its exports as entries. Returns the reason if it may not be loaded.
    fn load(&self, wasm: &[u8]) -> Result<Loaded, &'static str> {
        let mut adapter = Adapter::new(wasm).ok_or("types")?;
        if adapter.imports > 0 {
            return Err("imports");
        }
        let mut entries = HashMap::new();
        for (name, kind, index) in adapter.exports.clone() {
            let function = match kind {
                wasmparser::ExternalKind::Func => adapter.with_numbers(index, None),
                wasmparser::ExternalKind::Global => adapter.getter(index),
                _ => continue,
            };
            if let Some(function) = function {
                let entry = format!("entry{}", entries.len());
                adapter.export(&entry, function);
                entries.insert(name, entry);
            }
        }
        let mut nothing = wasm_encoder::Function::new([]);
        nothing.instructions().end();
        let nothing = adapter.func(&[], &[], &nothing);
        adapter.export(NOTHING, nothing);
        let wasm = adapter.finish();
        let artifact = self.artifact(&wasm).map_err(|error| refusal(&error))?;
        let memory = artifact.manifest().module.memory;
        let large = memory.is_some_and(|memory| memory.min_pages >= LARGE_PAGES);
        let host = if large { &self.large } else { &self.host };
        let functions = Isolation::ALL.map(|isolation| {
            let mut spec = spec();
            spec.isolation = isolation;
            spec.limits.fuel_max = u64::MAX >> 1;
            spec.limits.time_max = std::time::Duration::from_secs(3600);
            spec.limits.memory_bytes_max = 4 << 30;
            spec.limits.table_elements_max = 100_000;
            spec.pool.instances_max = 1;
            let function = host.runtime.hold(&artifact, spec).expect("it loads");
            (isolation, function)
        });
        Ok(Loaded {
            large,
            functions,
            entries,
            plain: Module::new(&self.plain, &wasm).expect("wasmtime takes it too"),
            history: Vec::new(),
            lost: false,
            shared: false,
        })
    }

    async fn call(
        &self,
        loaded: &Loaded,
        function: &TestFunction,
        entry: &str,
        args: &[Number],
    ) -> String {
        let args: Vec<_> = args.iter().map(ToString::to_string).collect();
        let args: Vec<_> = args.iter().map(String::as_bytes).collect();
        let name = format!("test.{entry}");
        let request = CallRequest::new(name.as_bytes(), &[], &args);
        let host = if loaded.large {
            &self.large
        } else {
            &self.host
        };
        host.request(Protocol::Resp3, function, &request).await.0
    }

    /// Calls an entry on a new instance of the module as it is.
    fn pristine(&self, loaded: &Loaded, entry: &str, args: &[Number]) -> Outcome {
        let mut store = Store::new(&self.plain, ());
        let instance = match Instance::new(&mut store, &loaded.plain, &[]) {
            Ok(instance) => instance,
            Err(error) => return Outcome::of(&error),
        };
        let function = instance
            .get_func(&mut store, entry)
            .expect("it has the entry");
        let args: Vec<_> = args.iter().map(|arg| arg.to_val()).collect();
        let ty = function.ty(&store);
        let mut results: Vec<_> = ty
            .results()
            .map(|ty| ty.default_value().expect("numbers have one"))
            .collect();
        match function.call(&mut store, &args, &mut results) {
            Ok(()) => Outcome::Returned(results.iter().map(Number::of_val).collect()),
            Err(error) => Outcome::of(&error),
        }
    }
}

/// The entry that every module gets.
const NOTHING: &str = "nothing";

/// A module of a script.
struct Loaded {
    large: bool,
    functions: [(Isolation, TestFunction); 3],
    /// The entry of each export.
    entries: HashMap<String, String>,
    plain: Module,
    /// Calls that returned, in their order.
    history: Vec<(String, Vec<Number>)>,
    /// True if the instance that is reused lacks the effects of the history.
    lost: bool,
    /// True if a module that does not run imports from it, and may have changed its table or memory.
    shared: bool,
}

/// A script while it runs.
pub(super) struct Script<'a> {
    machine: &'a Machine,
    name: &'a str,
    counts: Counts,
    /// The module that calls without a name go to, or the reason why there is none.
    current: Result<usize, &'static str>,
    modules: Vec<Loaded>,
    named: HashMap<String, Result<usize, &'static str>>,
    /// Modules that others import from.
    registered: HashMap<String, Result<usize, &'static str>>,
    line: usize,
}

impl<'a> Script<'a> {
    pub(super) fn new(machine: &'a Machine, name: &'a str) -> Self {
        Self {
            machine,
            name,
            counts: Counts::new(),
            current: Err("no module"),
            modules: Vec::new(),
            named: HashMap::new(),
            registered: HashMap::new(),
            line: 0,
        }
    }

    /// Runs the whole script.
    pub(super) async fn run(mut self, text: &str) -> Counts {
        let mut lexer = wast::lexer::Lexer::new(text);
        lexer.allow_confusing_unicode(true);
        let buffer = wast::parser::ParseBuffer::new_with_lexer(lexer).expect("a script");
        let script: wast::Wast<'_> = wast::parser::parse(&buffer).expect("a script");
        for directive in script.directives {
            self.line = directive.span().linecol_in(text).0 + 1;
            self.directive(directive).await;
        }
        self.counts
    }

    fn place(&self) -> String {
        format!("{}:{}", self.name, self.line)
    }

    fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    async fn directive(&mut self, directive: WastDirective<'_>) {
        match directive {
            WastDirective::Module(module) => self.module(module).await,
            WastDirective::AssertMalformed { mut module, .. } => {
                self.refused(&mut module, "malformed");
            }
            WastDirective::AssertInvalid { mut module, .. } => {
                self.refused(&mut module, "invalid");
            }
            WastDirective::AssertUnlinkable { module, .. } => {
                self.refused(&mut QuoteWat::Wat(module), "unlinkable");
            }
            WastDirective::AssertReturn { exec, results, .. } => {
                match results.iter().map(Pattern::of).collect::<Option<Vec<_>>>() {
                    Some(patterns) => {
                        let expected = Expected::Returns(patterns.concat());
                        self.executed(exec, &expected, "returns").await;
                    }
                    None => self.count("- not run: references"),
                }
            }
            WastDirective::AssertTrap { exec, message, .. } => {
                let expected = Expected::Traps(trap_text(message));
                self.executed(exec, &expected, "traps").await;
            }
            WastDirective::AssertExhaustion { call, .. } => {
                self.call(&call, &Expected::Exhausts, "exhausts").await;
            }
            WastDirective::Invoke(call) => {
                self.call(&call, &Expected::Anything, "calls").await;
            }
            WastDirective::Register { name, module, .. } => {
                let module = match module {
                    Some(id) => *self.named.get(id.name()).expect("it was defined"),
                    None => self.current,
                };
                self.registered.insert(name.to_owned(), module);
            }
            other => panic!("{}: {other:?} is no part of this suite", self.place()),
        }
    }

    /// Loads a module and makes an instance of it under each isolation.
    async fn module(&mut self, mut module: QuoteWat<'_>) {
        let name = module.name().map(|id| id.name().to_owned());
        let wasm = module
            .encode()
            .unwrap_or_else(|error| panic!("{}: {error}", self.place()));
        self.current = match self.machine.load(&wasm) {
            Ok(loaded) => {
                for (isolation, function) in &loaded.functions {
                    let reply = self.machine.call(&loaded, function, NOTHING, &[]).await;
                    assert_eq!(reply, "+OK", "{} {isolation}", self.place());
                }
                self.modules.push(loaded);
                self.count("modules");
                Ok(self.modules.len() - 1)
            }
            Err(reason) => {
                self.count(not_run(reason));
                self.share(&wasm);
                Err(reason)
            }
        };
        if let Some(name) = name {
            self.named.insert(name, self.current);
        }
    }

    /// Compiles what must not compile.
    fn refused(&mut self, module: &mut QuoteWat<'_>, kind: &'static str) {
        let source = match module.to_test() {
            Ok(QuoteWatTest::Binary(bytes) | QuoteWatTest::Text(bytes)) => bytes,
            // The text itself is not known, and its reader refuses it already.
            Err(_) => {
                self.count("- not run: text");
                return;
            }
        };
        let place = self.place();
        if super::LENIENT.iter().any(|(known, _)| *known == place) {
            assert!(
                self.machine.compiler.compile(&source).is_ok(),
                "{place} is refused now; take it off the list"
            );
            self.count("- not run: lenient");
            return;
        }
        match self.machine.compiler.compile(&source) {
            Ok(_) => panic!("{place}: it compiled, and it is {kind}"),
            Err(error) => {
                assert_ne!(error.code(), "INTERNAL", "{place}: {error}");
                let text = error.to_string();
                // Only what cannot be linked is refused for what hosts offer.
                let about_hosts = ["no entry", "unknown import", "import `", "export `"]
                    .iter()
                    .any(|start| text.starts_with(start));
                // It may also import what belongs to a proposal that is off.
                let off = kind == "unlinkable" && text.contains("proposal is off here");
                assert_eq!(about_hosts || off, kind == "unlinkable", "{place}: {text}");
                self.count(kind);
            }
        }
    }

    async fn executed(&mut self, exec: WastExecute<'_>, expected: &Expected, kind: &'static str) {
        match exec {
            WastExecute::Invoke(call) => self.call(&call, expected, kind).await,
            WastExecute::Get { module, global, .. } => {
                let module = module.map(|id| id.name().to_owned());
                self.entry(module, global, Some(Vec::new()), expected, kind)
                    .await;
            }
            WastExecute::Wat(mut wat) => self.start(&mut wat, expected, kind).await,
        }
    }

    /// Makes instances of a module that must not start.
    async fn start(&mut self, wat: &mut Wat<'_>, expected: &Expected, kind: &'static str) {
        let wasm = wat.encode().expect("it is well-formed");
        match self.machine.load(&wasm) {
            Ok(loaded) => {
                for (isolation, function) in &loaded.functions {
                    let reply = self.machine.call(&loaded, function, NOTHING, &[]).await;
                    assert!(
                        expected.holds_in(&reply),
                        "{} {isolation}: {reply} and not {expected:?}",
                        self.place()
                    );
                }
                self.count(kind);
            }
            Err(reason) => {
                self.count(not_run(reason));
                self.share(&wasm);
            }
        }
    }

    /// Notes the modules that a module imports from, which does not run.
    fn share(&mut self, wasm: &[u8]) {
        for payload in wasmparser::Parser::new(0).parse_all(wasm) {
            let Ok(wasmparser::Payload::ImportSection(section)) = payload else {
                continue;
            };
            for import in section.into_imports().flatten() {
                if let Some(Ok(index)) = self.registered.get(import.module) {
                    self.modules[*index].shared = true;
                }
            }
        }
    }

    async fn call(&mut self, call: &WastInvoke<'_>, expected: &Expected, kind: &'static str) {
        let module = call.module.map(|id| id.name().to_owned());
        let args: Option<Vec<_>> = call.args.iter().map(of_arg).collect();
        let args = args.map(|args| args.concat());
        self.entry(module, call.name, args, expected, kind).await;
    }

    /// Calls an entry under each isolation.
    async fn entry(
        &mut self,
        module: Option<String>,
        name: &str,
        args: Option<Vec<Number>>,
        expected: &Expected,
        kind: &'static str,
    ) {
        let place = self.place();
        let module = match module {
            Some(module) => *self.named.get(&module).expect("it was defined"),
            None => self.current,
        };
        let loaded = match module {
            Ok(index) => &mut self.modules[index],
            Err(reason) => {
                self.count(not_run(reason));
                return;
            }
        };
        let (Some(args), Some(entry)) = (args, loaded.entries.get(name).cloned()) else {
            self.count("- not run: references");
            return;
        };
        let machine = self.machine;
        // Exhaustion says nothing of the state.
        let pristine = match expected {
            Expected::Exhausts => None,
            _ => Some(machine.pristine(loaded, &entry, &args)),
        };
        let stateless = pristine
            .as_ref()
            .is_none_or(|pristine| expected.holds(pristine));
        if loaded.shared && !stateless {
            self.count("- not run: shared");
            return;
        }
        for index in 0..loaded.functions.len() {
            let (isolation, function) = &loaded.functions[index];
            let isolation = *isolation;
            if isolation == Isolation::Reuse {
                if loaded.lost {
                    function.drain();
                    if !stateless {
                        for (entry, args) in &loaded.history {
                            machine.call(loaded, function, entry, args).await;
                        }
                        loaded.lost = false;
                    }
                }
                let (_, function) = &loaded.functions[index];
                let reply = machine.call(loaded, function, &entry, &args).await;
                assert!(
                    expected.holds_in(&reply),
                    "{place} reuse: {reply} and not {expected:?}"
                );
                if reply.starts_with('-') {
                    loaded.lost = true;
                } else {
                    loaded.history.push((entry.clone(), args.clone()));
                }
                continue;
            }
            let reply = machine.call(loaded, function, &entry, &args).await;
            let holds = match &pristine {
                Some(pristine) if !stateless => same(&reply, pristine),
                Some(pristine) => expected.holds_in(&reply) && same(&reply, pristine),
                None => expected.holds_in(&reply),
            };
            assert!(
                holds,
                "{place} {isolation}: {reply} and not {expected:?}, {pristine:?}"
            );
        }
        let rewound = loaded
            .functions
            .iter()
            .map(|(_, function)| function.rewinding_differences());
        assert_eq!(rewound.sum::<u64>(), 0, "{place}");
        self.count(if stateless { kind } else { with_state(kind) });
    }
}

/// Returns the name of the assertions of a kind that hold only after those before them.
fn with_state(kind: &str) -> &'static str {
    match kind {
        "returns" => "returns, by state",
        "traps" => "traps, by state",
        _ => panic!("{kind} does not depend on state"),
    }
}

fn not_run(reason: &str) -> &'static str {
    match reason {
        "imports" => "- not run: imports",
        "externref" => "- not run: externref",
        "limits" => "- not run: limits",
        "names" => "- not run: names",
        "proposals" => "- not run: proposals",
        other => panic!("{other} is no known reason"),
    }
}

/// Returns the reason why a module was refused, if it may be.
fn refusal(error: &CompileError) -> &'static str {
    let text = error.to_string();
    if error.code() == "LIMIT" {
        "limits"
    } else if text.contains("externref") {
        "externref"
    } else if text.starts_with("export `") {
        "names"
    } else if text.contains("proposal is off here") {
        "proposals"
    } else {
        panic!("{text}")
    }
}

/// Returns what wasmtime's message for a trap of the suite contains.
fn trap_text(message: &str) -> String {
    let text = match message {
        "undefined element" => "undefined element: out of bounds table access",
        "uninitialized element" | "uninitialized" => "uninitialized element",
        "unreachable" => "unreachable",
        "indirect call type mismatch" | "indirect call" => "indirect call type mismatch",
        other if other.starts_with("uninitialized element") => "uninitialized element",
        other => other,
    };
    text.to_owned()
}
